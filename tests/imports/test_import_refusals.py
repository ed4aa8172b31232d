"""What an import refuses: one message that names the place, and nothing is written."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from import_files import sweep_rows, take, write_csv

from sweeper.errors import RequestError, UnknownNameError
from sweeper.imports.request import ClaimedRule
from sweeper.store.store import Store


@pytest.fixture
def own(tmp_path: Path) -> Store:
    """Returns a store on SQLite: what is refused is refused before the database is asked."""
    return Store.open(tmp_path / "store", create=True)


def text(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(content, encoding="utf-8")
    return path


PLAIN: dict[str, Any] = {"variant": (), "seed": None}


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ("64,-9,2.5", r"row 2, column lr: -9, .*log2.*not its logarithm.*--fixed lr"),
        ("0,1,2.5", r"row 2, column width: 0, .* must be positive"),
        ("64,5%,2.5", r"row 2, column lr: '5%', .*write a percentage as the number"),
        ("64,,2.5", r"row 2, column lr: empty, .*fill it in, or leave its rows out with --where"),
        ("64,2^-9,2.5", r"row 2, column lr: '2\^-9', where a number is needed"),
        ("64,nan,2.5", r"row 2, column lr: 'nan'"),
        ('64,"0,5",2.5', r"row 2, column lr: '0,5', .*decimal point"),
        ("190M,1,2.5", r"row 2, column width: '190M', .*written out"),
        ("true,1,2.5", r"row 2, column width: True, where a number is needed"),
        ("64,1,2.5 nats", r"row 2, column loss: '2.5 nats', where a number is needed"),
        ("64,1,12%", r"row 2, column loss: '12%', .*percentage"),
        ("64,1,1_000", r"row 2, column loss: '1_000'"),
    ],
)
def test_a_cell_that_its_part_cannot_hold_is_named(
    own: Store, tmp_path: Path, cells: str, says: str
) -> None:
    file = text(tmp_path, f"width,lr,loss\n64,0.5,2.5\n{cells}\n128,0.5,2\n")

    with pytest.raises(RequestError, match=says):
        take(own, file, **PLAIN)

    assert own.studies() == []


def test_zeros_are_set_aside_only_where_positive_rates_are_left(
    own: Store, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=r"no row is left; left out: 1 row \(row 1\), where lr"):
        take(own, text(tmp_path, "width,lr,loss\n64,0,2\n"), **PLAIN)
    counted = "width,lr,loss\n64,0,2\n64,1,2\n64,2,2\n64,3,2\n"
    with pytest.raises(RequestError, match=r"row 1, column lr: 0, .*not its logarithm"):
        take(own, text(tmp_path, counted), **PLAIN)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ("adam,0.5,1,10,finished,9", r"row 2, column seed: 0.5, where a seed is a whole number"),
        (f"adam,{'1' * 5000},1,10,finished,9", r"row 2, column seed: .*a seed is a whole number"),
        (",1,1,10,finished,9", r"row 2, column optimizer: empty, and a variant's name needs it"),
        ("adam,1,1,10,finished,9,64,1,-1", r"row 2, column bar: -1, where an amount is needed"),
        ("adam,1,-1,10,finished,9", r"row 2, column tok: -1, where an amount is needed"),
        ("adam,1,1,2.5,finished,9", r"row 2, column step: '2.5', where a step is a whole number"),
        (
            "adam,1,1,10,perhaps,9",
            r"row 2, column state: 'perhaps', where one .*finished",
        ),
    ],
)
def test_seeds_variants_amounts_steps_and_states_are_checked(
    own: Store, tmp_path: Path, cells: str, says: str
) -> None:
    head = "optimizer,seed,tok,step,state,loss,width,lr,bar"
    row = cells if cells.count(",") == 8 else f"{cells},64,1,"
    file = text(tmp_path, f"{head}\nadam,0,1,10,finished,9,64,1,0.1\n{row}\n")

    with pytest.raises(RequestError, match=says):
        take(own, file, tokens="tok", step="step", outcome="state", error="bar")


def test_rows_that_agree_and_have_different_losses_are_named(own: Store, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "runs.csv", sweep_rows())
    says = (
        r"rows 1 and 2 agree in optimizer, width, lr and have different results \(20 cells are "
        r"like that\); they differ in seed, loss; .*--seed COLUMN, --step COLUMN"
    )

    with pytest.raises(RequestError, match=says):
        take(own, file, seed=None)
    with pytest.raises(RequestError, match="they differ in optimizer, loss"):
        take(own, file, variant=())
    file.write_text("lr,width,step,loss\n1,64,10,2.5\n1,64,20,2.4\n1,64,20,2.3\n")
    with pytest.raises(RequestError, match=r"rows 2 and 3 .*they differ in loss"):
        take(own, file, step="step", **PLAIN)


def test_rows_whose_amounts_differ_are_not_one(own: Store, tmp_path: Path) -> None:
    file = text(tmp_path, "lr,width,loss,C\n1,64,2.5,1e18\n1,64,2.5,2e18\n")

    with pytest.raises(RequestError, match=r"rows 1 and 2 .*they differ in C"):
        take(own, file, flops="C", **PLAIN)


def test_a_column_that_is_not_there_is_named_with_its_neighbours(
    own: Store, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "runs.csv", sweep_rows())

    with pytest.raises(UnknownNameError, match=r"no column named 'widht'; did you mean 'width'"):
        take(own, file, scales=("widht",))
    with pytest.raises(UnknownNameError, match=r"no column named 'curve'"):
        take(own, file, where=(("curve", "ema"),))


def test_a_name_may_be_the_end_of_one_column_and_not_of_two(own: Store, tmp_path: Path) -> None:
    head = "config.model.width,opt/lr,val.loss,train.loss"
    file = text(tmp_path, f"{head}\n64,0.5,2,3\n64,1,2.5,3\n")

    done = take(own, file, objective="train.loss", **PLAIN)

    assert done.columns == {"width": "config.model.width", "lr": "opt/lr"}
    with pytest.raises(RequestError, match=r"may be any of train\.loss, val\.loss"):
        take(own, file, **PLAIN)


def test_a_setting_is_looked_for_under_config_and_a_measurement_under_summary(
    own: Store, tmp_path: Path
) -> None:
    head = "config.model.width,summary.width,config.lr,config.min.lr,summary.lr,summary.loss"
    file = text(tmp_path, f"{head},config.loss\n64,1,0.5,7,0,2,mse\n64,1,1,7,0,3,mse\n")

    done = take(own, file, **PLAIN)

    assert done.columns == {
        "width": "config.model.width",
        "lr": "config.lr",
        "loss": "summary.loss",
    }
    assert own.frame("theirs")["lr"].tolist() == [0.5, 1]
    two = text(tmp_path, "config.a.width,config.b.width,lr,loss\n64,64,1,2\n")
    with pytest.raises(RequestError, match=r"may be any of config\.a\.width, config\.b\.width"):
        take(own, two, **PLAIN)


def test_the_setting_of_a_run_comes_before_what_a_schedule_logged_under_the_same_name(
    own: Store, tmp_path: Path
) -> None:
    file = text(tmp_path, "width,config.lr,lr,loss\n64,0.5,0,2\n64,1,0,3\n")

    done = take(own, file, **PLAIN)

    assert own.frame("theirs")["lr"].tolist() == [0.5, 1]
    assert done.columns == {"lr": "config.lr"}
    assert done.notes[0].startswith("lr is the setting config.lr: the column lr beside it may be")
    assert (
        take(own, text(tmp_path, "width,lr,loss\n64,0.5,2\n"), study="plain", **PLAIN).notes == ()
    )


def test_a_header_that_says_a_name_twice_is_refused_where_it_matters(
    own: Store, tmp_path: Path
) -> None:
    file = text(tmp_path, "width,lr,loss,note,note\n64,1,2,a,b\n")

    assert take(own, file, **PLAIN).used == 1
    with pytest.raises(RequestError, match="2 columns named 'note'"):
        take(own, file, fixed=("note",), **PLAIN)


def test_no_rows_are_refused_with_what_there_is(own: Store, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "runs.csv", sweep_rows())

    with pytest.raises(RequestError, match=r"none of its 40 rows .*optimizer is adam, muon"):
        take(own, file, where=(("optimizer", "lion"),))
    with pytest.raises(RequestError, match="a header and no rows"):
        take(own, text(tmp_path, "width,lr,loss\n"), **PLAIN)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        ("width,lr,loss\n64,1,2\n64,2,2 £\n".encode("latin-1"), "is not UTF-8 text .*as UTF-8"),
        (b"width,lr,loss\n" + b"64,1,2\n" * 200_000 + b"64,2,\xa3\n", "is not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "none of CSV, Parquet and JSON"),
        (b"width,lr,loss\n64,1,2\n64,2\n", r"row 2: 2 cells where the header names 3 columns"),
        (b"PAR1 and then nothing", "cannot be read: .*[Pp]arquet"),
        (b'{"width": 64, "lr": 1, "loss": 2}\n{"width": 64,\n', "record 2 is not JSON"),
        (b"[1, 2]", "record 1 is no object but '1'"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    own: Store, tmp_path: Path, content: bytes, says: str
) -> None:
    file = tmp_path / "runs.csv"
    file.write_bytes(content)

    with pytest.raises(RequestError, match=says):
        take(own, file, **PLAIN)

    assert own.studies() == []


def test_a_file_that_cannot_be_read_is_refused(own: Store, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such file"):
        take(own, tmp_path / "none.csv")
    with pytest.raises(RequestError, match=r"is a folder without runs: no \.json files"):
        take(own, tmp_path)
    (tmp_path / "a.json").write_text("{\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"a\.json: record 1 is not JSON"):
        take(own, tmp_path)
    broken = tmp_path / "runs.csv.gz"
    broken.write_bytes(gzip.compress(b"width,lr,loss\n" + b"64,1,2\n" * 1000)[:-20])
    with pytest.raises(RequestError, match=r"runs\.csv\.gz: cannot be read"):
        take(own, broken, **PLAIN)


def test_two_variants_of_one_name_are_refused(own: Store, tmp_path: Path) -> None:
    file = text(tmp_path, "a,b,width,lr,loss\nx/y,z,64,1,2\nx,y/z,64,1,3\n")

    with pytest.raises(RequestError, match="variant 'x/y/z' is both"):
        take(own, file, variant=("a", "b"), seed=None)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"study": "a/b"}, "--study 'a/b'"),
        ({"study": "runs.yaml"}, "--study 'runs.yaml'"),
        ({"scales": ()}, "--scale: name the column"),
        ({"scales": ("loss",), "objective": "y"}, "--scale loss: that is a word of the table"),
        ({"scales": ("lr",)}, "column lr is given two parts"),
        ({"noise": 0.0}, "--noise 0: the standard deviation of one result is above 0"),
        ({"error": "loss"}, "column loss is given two parts"),
        ({"step": "seed"}, "column seed is given two parts"),
        ({"variant": ("sweep",)}, "--variant sweep"),
        (
            {"claims": (ClaimedRule(hyperparameter="wd", exponent=0, tolerance=1),)},
            "no hyperparameter of this import named 'wd'; known: lr",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    own: Store, tmp_path: Path, parts: dict[str, Any], says: str
) -> None:
    file = write_csv(tmp_path / "runs.csv", sweep_rows())

    with pytest.raises(RequestError, match=says):
        take(own, file, **parts)


@pytest.mark.parametrize(
    "record",
    [
        '"config": {"o.a": 1, "o": {"a": 2}}',
        '"config": {"o": {"a": 1}, "o.a": "2"}',
        '"config": {"o": {"a": 1}, "o": {"a": 2}}',
        '"config": {"o": 1, "o": {"a": 2}}',
        '"config": {"o": {"a": {"value": 1}}, "o.a": 2}',
        '"o.a": 1, "o.a": true',
    ],
)
@pytest.mark.parametrize("form", ["lines", "list"])
def test_two_values_of_one_name_in_a_record_are_refused(
    own: Store, tmp_path: Path, record: str, form: str
) -> None:
    rest = '"width": 64, "lr": 0.1, "loss": 2'
    whole = '"config": {"o.a": 5}' if "config" in record else '"o.a": 5'
    first, second = f"{{{rest}, {whole}}}", f"{{{rest}, {record}}}"
    content = f"[{first}, {second}]" if form == "list" else f"{first}\n{second}\n"
    with pytest.raises(RequestError, match=r"record 2: .*o\.a is there twice, as .* remove one"):
        take(own, text(tmp_path, content), **PLAIN, fixed=("o.a",))
    done = take(own, text(tmp_path, f"{second}\n"), **PLAIN)  # nobody asks for it
    assert done.trials["completed"] == 1


def test_two_spellings_of_one_value_in_a_record_are_one(own: Store, tmp_path: Path) -> None:
    record = '"width": 64, "lr": 0.1, "loss": 2, "loss": 2.0, "o.a": 1, "o": {"a": "1.0"}'
    done = take(own, text(tmp_path, f"{{{record}}}\n"), **PLAIN, fixed=("o.a",))
    assert done.trials["completed"] == 1
    assert own.frame("theirs")["o.a"].tolist() == [1]


@pytest.mark.parametrize("part", ["step", "tokens", "params", "seed"])
@pytest.mark.parametrize("cell", ["18446744073709551616", "9223372036854775808", "6.2e21"])
def test_whole_numbers_that_no_database_holds_are_refused(
    own: Store, tmp_path: Path, part: str, cell: str
) -> None:
    file = text(tmp_path, f"width,lr,loss,n\n64,1,2,7\n64,2,2,{cell}\n")
    with pytest.raises(RequestError, match=r"row 2, column n: "):
        take(own, file, **PLAIN | {part: "n"})
    assert own.studies() == []


@pytest.mark.parametrize("column", ["width", "lr", "n"])
def test_whole_settings_that_no_database_holds_are_refused(
    own: Store, tmp_path: Path, column: str
) -> None:
    cells = {"width": "64", "lr": "2", "n": "1"} | {column: "9223372036854775808"}
    file = text(tmp_path, f"width,lr,n,loss\n64,1,1,2\n{','.join(cells.values())},3\n")
    with pytest.raises(RequestError, match=rf"row 2, column {column}: .* is below 2\^63; write"):
        take(own, file, **PLAIN, fixed=("n",))


def test_a_file_that_is_cut_inside_a_character_is_no_text(own: Store, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_bytes(b"width,lr,loss\n64,1,2\n64,2,2,x\xc3")  # an odd row, which pyarrow tells of
    with pytest.raises(RequestError, match=r"is not UTF-8 text \(byte 29\)"):
        take(own, file, **PLAIN)
