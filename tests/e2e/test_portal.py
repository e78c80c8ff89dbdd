"""The main path as a person walks it: a real browser against the whole running system."""

import io
import os
import re
import shutil
import zipfile

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from dermabatch.imaging.synthetic import lesion_jpeg

IMAGES = 12
_SETTLED_MS = 120_000
_BROKEN = re.compile("Content Security Policy|Error:")
_QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def chromium():
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium on this machine: .ci/run installs it")
        pytest.skip("no Chromium on this machine")
    # Chromium refuses to sandbox itself under root.
    arguments = [*_QUIET, "--no-sandbox"] if os.geteuid() == 0 else list(_QUIET)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, live):
    """A fresh browser window on the portal in which somebody has signed in; scripts may be off.

    What a page complains about in its console fails the test: a broken script, a refused inline style.
    """
    contexts, complaints = [], []

    def _open_page(person, *, scripts=True) -> Page:
        context = chromium.new_context(base_url=live.installation.portal_url, java_script_enabled=scripts)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/sign-in")
        page.get_by_label("E-mail address").fill(person.email)
        page.get_by_label("Password").fill(person.password)
        page.get_by_role("button", name="Sign in").click()
        return page

    yield _open_page
    for context in contexts:
        context.close()
    assert not [complaint for complaint in complaints if _BROKEN.search(complaint)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A ZIP of synthetic lesions and one file that is no image."""
    path = tmp_path_factory.mktemp("upload") / "lesions.zip"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as entries:
        for number in range(IMAGES):
            entries.writestr(f"clinic/{number:02}.jpg", lesion_jpeg(5000 + number))
        entries.writestr("clinic/letter.txt", "not an image")
    path.write_bytes(content.getvalue())
    return path


def _upload(page: Page, files) -> None:
    page.goto("/batches/new")
    page.locator('input[name="files"]').set_input_files(files)
    page.get_by_role("button", name=re.compile("^Upload")).click()
    page.wait_for_url(re.compile("/batches/[0-9a-f-]{36}$"))


def test_an_uploaded_archive_is_classified_before_the_eyes_of_its_reader(open_page, live, archive):
    page = open_page(live.staff)
    _upload(page, archive)
    # Nothing is reloaded here: the page follows the work by itself.
    expect(page.locator(".progress-word")).to_contain_text(
        f"All {IMAGES + 1} files done", timeout=_SETTLED_MS
    )
    expect(page.locator("#results tbody tr")).to_have_count(IMAGES)
    expect(page.locator("#left-out")).to_contain_text("clinic/letter.txt")
    expect(page.locator(".provenance")).to_contain_text(f"{IMAGES} images by model")

    page.locator("#results .row-link").first.click()
    expect(page.locator(".bars .track")).to_have_count(7)
    shown = page.locator("[data-picture]")
    expect(shown).to_be_visible()
    assert shown.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 600

    heat = page.locator("[data-heat]")
    expect(heat).to_be_hidden()
    page.keyboard.press("h")
    expect(heat).to_be_visible()
    assert heat.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 224

    page.keyboard.press("j")
    expect(page.locator(".place")).to_have_text(f"2 of {IMAGES}")


def test_the_originals_go_in_through_the_form_and_come_out_classified(open_page, live, originals):
    page = open_page(live.staff)
    _upload(page, {"name": "originals.zip", "mimeType": "application/zip", "buffer": originals})
    expect(page.locator(".progress-word")).to_contain_text("All 48 files done", timeout=_SETTLED_MS)
    rows = page.locator("#results tbody tr")
    expect(rows).to_have_count(48)
    expect(rows.locator(".triage")).to_have_count(48)
    expect(page.locator("#left-out")).to_have_count(0)
    live.assert_nothing_lost([page.url.rpartition("/")[2]], images=48)


def _box(page: Page, selector: str) -> tuple[float, ...]:
    box = page.locator(selector).bounding_box()
    return tuple(round(box[side]) for side in ("x", "y", "width", "height"))


def test_a_tall_picture_is_seen_whole_and_its_heat_map_covers_exactly_it(open_page, live, tmp_path):
    tall = tmp_path / "tall.jpg"
    tall.write_bytes(lesion_jpeg(5100, width=450, height=600))
    page = open_page(live.staff)
    _upload(page, tall)
    page.locator("#results .row-link").click(timeout=_SETTLED_MS)
    page.locator("[data-picture]").evaluate("picture => picture.decode()")
    page.keyboard.press("h")
    mat = _box(page, "[data-viewer]")
    fitted = _box(page, "[data-picture]")
    assert fitted[3] == mat[3]
    assert fitted[2] == pytest.approx(mat[3] * 450 / 600, abs=1)
    assert _box(page, "[data-heat]") == fitted

    page.locator("[data-viewer]").dblclick()
    assert _box(page, "[data-picture]")[3] == pytest.approx(3 * mat[3], abs=2)
    assert _box(page, "[data-heat]") == _box(page, "[data-picture]")
    page.locator("[data-viewer]").dblclick()
    assert _box(page, "[data-picture]") == fitted

    opacity = page.get_by_label("Opacity of the heat map")
    opacity.press("End")
    expect(page.locator("[data-heat]")).to_have_css("opacity", "1")
    opacity.press("h")
    expect(page.locator("[data-heat]")).to_be_hidden()


def test_two_cameras_may_give_their_pictures_the_same_name(open_page, live):
    page = open_page(live.staff)
    page.goto("/batches/new")
    for seed in (71, 72):
        picture = {"name": "IMG_0001.jpg", "mimeType": "image/jpeg", "buffer": lesion_jpeg(seed)}
        page.locator('input[name="files"]').set_input_files([picture])
    page.get_by_role("button", name="Upload 2 images").click()
    page.wait_for_url(re.compile("/batches/[0-9a-f-]{36}"))
    assert live.wait_for(page.url.rpartition("/")[2])["received"] == 2


def test_the_main_path_works_without_scripts(open_page, live, archive):
    page = open_page(live.staff, scripts=False)
    _upload(page, archive)
    live.wait_for(page.url.rpartition("/")[2])
    page.reload()
    expect(page.locator("#results tbody tr")).to_have_count(IMAGES)
    page.locator("#results .row-link").first.click()
    expect(page.locator(".verdict-word")).to_be_visible()


def test_a_watched_page_says_that_the_server_is_silent_and_recovers(open_page, live, archive):
    page = open_page(live.staff)
    page.route("**/progress?*", lambda route: route.abort())
    _upload(page, archive)
    expect(page.locator("[data-heard]")).to_contain_text("no answer for", timeout=20_000)
    page.unroute("**/progress?*")
    expect(page.locator(".progress-word")).to_contain_text("files done", timeout=_SETTLED_MS)


def test_an_administrator_verifies_the_trail(open_page, live):
    page = open_page(live.administrator)
    page.get_by_role("link", name="Audit").click()
    expect(page.locator("table.list tbody tr").first).to_be_visible()
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.get_by_text("The chain holds")).to_be_visible()
