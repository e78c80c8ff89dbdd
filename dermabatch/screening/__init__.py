"""Screening: an archive's images are taken in and classified without anybody watching.

`sources` list what there is, one file after the other; `screening` takes in what is new and can be killed anywhere;
`rescoring` shows stored images to another model; `schedules` says when, `watching` what is wrong with it.
"""
