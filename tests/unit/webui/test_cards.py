from webui.cards import render


def test_a_card_becomes_headings_lists_and_tables():
    html = render("# Tiny\n\n- one\n\n| figure | value |\n|---|--:|\n| BMA | 0.8 |\n")
    for part in ("<h1>Tiny</h1>", "<li>one</li>", "<td>BMA</td>"):
        assert part in html


def test_html_in_a_card_is_shown_and_not_obeyed():
    assert "<script" not in render("<script>alert(1)</script>")
    assert "javascript:" not in render("[click](javascript:alert(1))").partition("href")[2]


def test_a_card_brings_no_inline_style():
    assert "style=" not in render("| a |\n|--:|\n| 1 |\n")
