import io

import pytest
from werkzeug.formparser import parse_form_data

from cli.portal_client import Upload, _write_form

NAMES = ["lesion.jpg", 'a "quoted" one.jpg', "Läsion 病変.png", "two\r\nlines.jpg", "folder/inside.jpg"]


@pytest.mark.parametrize("name", NAMES)
def test_a_form_brings_each_file_with_its_bytes(name):
    uploads = [Upload(name, bytes(range(256))), Upload("empty.jpg", b"")]
    body = io.BytesIO()
    content_type = _write_form(body, iter(uploads), "bulk")
    length = body.tell()
    body.seek(0)
    _, form, files = parse_form_data(
        {
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(length),
            "wsgi.input": body,
        }
    )
    assert form["queue"] == "bulk"
    received = files.getlist("files")
    assert [file.read() for file in received] == [upload.data for upload in uploads]
    assert received[0].filename == name.replace("\r\n", "%0D%0A")  # as browsers write a line break
