import io
import re
import zipfile

import pytest

from dermabatch.imaging.synthetic import lesion_jpeg

_KEY = re.compile(r'name="idempotency_key" value="([^"]+)"')


def _files(*named):
    return [(io.BytesIO(content), name) for name, content in named]


def _zip(*named):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as entries:
        for name, content in named:
            entries.writestr(name, content)
    return archive.getvalue()


@pytest.fixture
def upload(nurse):
    """Sends the form of the upload page as a browser without scripts does."""

    def _upload(files, *, metadata=b"", key="", **kwargs):
        form = {"files": files, "metadata": (io.BytesIO(metadata), "known.csv" if metadata else "")}
        return nurse.post("/batches", {**form, "idempotency_key": key}, form_on="/batches/new", **kwargs)

    return _upload


def test_an_upload_leads_to_its_batch(nurse, upload):
    archive = _zip(("back/1.jpg", lesion_jpeg(1)), ("notes.txt", b"not an image"))
    answer = upload(_files(("set.zip", archive), ("2.jpg", lesion_jpeg(2))))
    assert answer.status_code == 303
    page = nurse.get(answer.location).text
    assert "1 of 3 done" in page
    assert "notes.txt" in page


def test_the_csv_beside_the_images_tells_patient_and_lesion(nurse, upload):
    known = b"file,patient,lesion_id,age\n1.jpg,P-77,left arm,61\n"
    batch = upload(_files(("1.jpg", lesion_jpeg(1))), metadata=known).location
    listed = nurse.get(f"{batch}?state=pending").text
    assert "lesion left arm" in listed
    image = nurse.get(re.search(r'href="(/images/[^"]+)"', listed)[1]).text
    assert "P-77" in image
    assert "61 years" in image


def test_the_sample_batch_says_everywhere_that_it_is_painted(nurse):
    assert "Try the sample batch" in nurse.get("/batches").text
    answer = nurse.post("/batches/sample", form_on="/batches")
    assert answer.status_code == 303
    page = nurse.get(f"{answer.location}?state=pending").text
    assert "were painted by this program" in page
    assert len(re.findall(r"painted-no-patient-\d+\.jpg</a>", page)) == 12


def test_an_administrator_without_work_hands_in_no_sample(administrator):
    assert administrator.post("/batches/sample").status_code == 403


def test_pressing_the_button_twice_makes_one_batch(nurse, upload):
    key = _KEY.search(nurse.get("/batches/new").text)[1]
    first = upload(_files(("1.jpg", lesion_jpeg(1))), key=key)
    again = upload(_files(("1.jpg", lesion_jpeg(1))), key=key)
    assert first.location == again.location


def test_a_script_is_told_where_the_batch_is(upload):
    answer = upload(_files(("1.jpg", lesion_jpeg(1))), headers={"Accept": "application/json"})
    assert answer.status_code == 201
    assert answer.json["page"] == answer.location


def test_an_upload_without_files_is_refused(nurse, upload):
    answer = upload(_files(("", b"")))
    assert answer.status_code == 400
    assert "at least one file" in answer.text
    assert "No batches yet" in nurse.get("/batches").text


def test_an_upload_past_the_limit_is_refused(upload):
    answer = upload(_files(("large.jpg", bytes(10 * 2**20))), headers={"Accept": "application/json"})
    assert answer.status_code == 413


def test_many_large_files_need_one_file_descriptor(nurse, upload, settings):
    # Werkzeug alone would open one temporary file for each of them.
    files = [
        (f"{number}.jpg", lesion_jpeg(number, width=1200, height=900, quality=98)) for number in range(8)
    ]
    assert all(len(content) > 500_000 for _, content in files) or sum(len(c) for _, c in files) > 2**20
    page = nurse.get(upload(_files(*files)).location).text
    assert "0 of 8 done" in page


def test_a_stranger_cannot_make_the_portal_read_a_large_body(stranger):
    class Body(io.BytesIO):
        read_bytes = 0

        def read(self, size=-1):
            Body.read_bytes += size
            return super().read(size)

    answer = stranger.client.post(
        "/batches",
        input_stream=Body(bytes(2**20)),
        content_length=2**20,
        content_type="multipart/form-data; boundary=x",
    )
    assert answer.location.startswith("/sign-in")
    assert Body.read_bytes == 0


def test_a_form_that_is_sent_again_leads_to_the_first_batch_and_says_that_nothing_was_stored(nurse, upload):
    first = upload(_files(("1.jpg", lesion_jpeg(1))), key="the same").location
    again = upload(_files(("1.jpg", lesion_jpeg(1))), key="the same").location
    assert again == first
    assert "nothing new was stored" in nurse.get(again).text


def test_a_form_that_is_sent_again_with_other_files_is_refused_and_says_what_to_do(nurse, upload):
    upload(_files(("1.jpg", lesion_jpeg(1))), key="the same")
    answer = upload(_files(("2.jpg", lesion_jpeg(2))), key="the same")
    assert answer.status_code == 422
    assert "Nothing of them was stored" in answer.text


def test_a_key_that_no_form_of_ours_makes_is_refused(upload):
    assert upload(_files(("1.jpg", lesion_jpeg(1))), key="k" * 201).status_code == 400


@pytest.mark.parametrize("address", ["/batches", "/batches/new", "/account"])
def test_no_page_of_the_portal_stays_in_the_browser(nurse, address):
    assert nurse.get(address).headers["Cache-Control"] == "no-store"
