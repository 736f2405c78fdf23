"""Texts: read by stated rules, brought to one form, copied with edits, counted, and found to be alike."""

from __future__ import annotations

import hashlib
import locale
import random
import re
import resource
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datapin.base.errors import BadSettings, OperatorRefused, StageRefused
from datapin.pipeline.kinds.kind import kind_named
from datapin.pipeline.mapping.context import StageReport
from datapin.pipeline.operators.features import Features
from datapin.pipeline.operators.operator import AssetBroken
from datapin.pipeline.operators.recipe import apply_recipe, read_recipe, recipe_of
from datapin.pipeline.operators.text.augment import TextOperators
from datapin.pipeline.operators.text.augment_text import AugmentText, read_synonyms
from datapin.pipeline.operators.text.extractors import Ngrams
from datapin.pipeline.operators.text.prepare import NormaliseText
from datapin.pipeline.operators.text.reading import MOST_BYTES, read_text
from datapin.pipeline.operators.text.sketches import HASHES, sketch
from datapin.pipeline.splits.near_texts import near_rows
from datapin.pipeline.stages.augment import run_augment
from datapin.pipeline.stages.featurize import run_featurize
from datapin.pipeline.stages.prepare import run_prepare
from workspaces import Workspace

ASSET = hashlib.sha256(b"asset").hexdigest()
SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody in Čáslav sees it: ночь, 夜 and 밤."
EVERYTHING: dict[str, Any] = {
    "insert": {"fraction": 0.3},
    "swap": {"fraction": 0.3},
    "delete": {"fraction": 0.3},
    "typos": {"fraction": 0.5},
}
PARAMS = """
prepare: {kind: text, near_duplicates: 0.7, on_broken: drop, split: {train: 0.5, test: 0.5}}
augment: {kind: text, copies: 2, operators: {swap: {fraction: 0.2}, typos: {fraction: 0.2}}}
featurize: {extract: [{use: ngrams, size: 64, signed: false, norm: none}]}
"""


def sentences(count: int) -> dict[str, bytes]:
    """Texts of twelve words each, by chance."""
    chance, words = random.Random(1), SENTENCE.split()
    return {f"{'ab'[n % 2]}/{n:03d}.txt": " ".join(chance.choices(words, k=12)).encode() for n in range(count)}


def fill(workspace: Workspace, assets: dict[str, bytes]) -> None:
    workspace.write("data/raw", assets, label=[key.split("/")[0] for key in assets])


def run(workspace: Workspace, text: str = PARAMS, jobs: int = 1) -> list[StageReport]:
    params = workspace.params(text)
    return [stage(workspace.context(jobs), params) for stage in (run_prepare, run_augment, run_featurize)]


# --- reading


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(mark: str) -> None:
    assert read_text(SENTENCE.encode(mark)).text == SENTENCE
    assert read_text(SENTENCE.encode(mark), "latin-1").text == SENTENCE
    assert "byte order mark" in str(read_text(SENTENCE.encode(mark), "latin-1").note)


def test_without_a_mark_it_is_what_was_asked_for() -> None:
    assert read_text(SENTENCE.encode()).text == SENTENCE
    assert read_text("Größe".encode("cp1252"), "cp1252").text == "Größe"
    assert read_text("夜".encode("shift_jis"), "shift_jis").text == "夜"
    assert read_text(b"a\r\nb\rc\n").text == "a\nb\nc\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        ("Größe".encode("latin-1"), "is not utf-8: bytes f6 df 65 at 2; set prepare.encoding"),
        (SENTENCE.encode()[:-2], "is not utf-8"),
        (SENTENCE.encode("utf-16-le"), "NUL character|is not utf-8"),
        (b"abc\0def", "NUL character at 3"),
        (b"\xff\xfe\x00", "is not utf-16-le"),
        (b"%PDF-1.7 ...", "a PDF file"),
        (b"PK\3\4....", "a ZIP file"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x89PNG\r\n\x1a\n", "is not utf-8"),
        (b"x" * (MOST_BYTES + 1), "expected at most"),
        (b" \n\t ", "nothing but space"),
    ],
)
def test_what_is_no_text_says_why(data: bytes, said: str) -> None:
    with pytest.raises(AssetBroken, match=said):
        NormaliseText(max_chars=MOST_BYTES).derive(data, ASSET, 0)


def test_forms_spaces_and_lengths() -> None:
    decomposed = unicodedata.normalize("NFD", "Größe  ﬁn\n\n ")
    assert NormaliseText().derive(decomposed.encode(), ASSET, 0).data == "Größe  ﬁn\n\n ".encode()
    whole = NormaliseText(normal="NFKC", spaces="collapse", lowercase=True)
    assert whole.derive(decomposed.encode(), ASSET, 0).data == "größe fin".encode()
    assert NormaliseText(normal="none").derive(decomposed.encode(), ASSET, 0).data == decomposed.encode()
    bounded = [NormaliseText(min_chars=6), NormaliseText(max_chars=4)]
    for one in bounded:
        with pytest.raises(AssetBroken, match="has 5 characters"):
            one.derive(b"12345", ASSET, 0)
    assert len({one.fingerprint for one in [NormaliseText(), whole, *bounded]}) == 4


# --- copies


def operator(seed: int = 0, **operators: dict[str, Any]) -> AugmentText:
    return AugmentText(TextOperators.model_validate(operators), seed)


def copied(copy: int = 1, seed: int = 0, **operators: dict[str, Any]) -> str:
    data = operator(seed, **operators).derive(SENTENCE.encode(), ASSET, copy).data
    assert data is not None
    return data.decode()


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_a_copy_is_a_function_of_asset_copy_and_seed(name: str) -> None:
    named = {name: EVERYTHING[name]}
    found = {copied(copy, seed, **named) for copy in range(4) for seed in range(2)}
    assert len(found) >= 7
    assert copied(3, 1, **named) == copied(3, 1, **named)
    neutral: list[dict[str, Any]] = [{name: {**EVERYTHING[name], "probability": 0.0}}, {name: {"fraction": 0.0}}]
    assert [copied(**one) for one in neutral] == [SENTENCE] * 2


def test_what_each_operator_does() -> None:
    words = SENTENCE.split()
    assert sorted(re.findall(r"\w+", copied(swap={"fraction": 0.5}))) == sorted(re.findall(r"\w+", SENTENCE))
    assert len(copied(insert={"fraction": 0.5}).split()) > len(words)
    assert len(copied(delete={"fraction": 0.5}).split()) < len(words)
    assert copied(delete={"fraction": 1.0}).strip(" ,:.") != "", "one word is left"
    changed = [(a, b) for a, b in zip(words, copied(typos={"fraction": 0.5}).split(), strict=True) if a != b]
    assert changed
    assert all(abs(len(a) - len(b)) <= 1 for a, b in changed)


def test_synonyms_come_from_the_users_file(tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text("# mine\nquick\tfast\trapid\nfox\tvixen\n\nFox\treynard\n")
    synonyms, digest = read_synonyms(tmp_path, "s.tsv")
    assert synonyms == {"quick": ("fast", "rapid"), "fox": ("vixen", "reynard")}
    operators = TextOperators.model_validate({"synonyms": {"file": "s.tsv", "fraction": 1.0}})
    found = {AugmentText(operators, 0, synonyms, digest).derive(SENTENCE.encode(), ASSET, n).data for n in range(20)}
    assert found == {
        SENTENCE.replace("quick", one).replace("fox", two).encode()
        for one in ("fast", "rapid") for two in ("vixen", "reynard")
    }  # fmt: skip
    loud = AugmentText(operators, 0, {"fox": ("vixen",)}, digest).derive(b"FOX Fox fox", ASSET, 1)
    assert loud.data == b"VIXEN Vixen vixen"
    assert (
        AugmentText(operators, 0, synonyms, "0" * 64).fingerprint != AugmentText(operators, 0, {}, digest).fingerprint
    )
    for text in ("lonely\n", "\tx\n", "a\t\n", b"\xff".decode("latin-1")):
        (tmp_path / "s.tsv").write_text(text, encoding="latin-1")
        with pytest.raises(OperatorRefused, match=r"s\.tsv"):
            read_synonyms(tmp_path, "s.tsv")
    with pytest.raises(OperatorRefused, match="no file"):
        read_synonyms(tmp_path, "none.tsv")


def test_a_recipe_makes_the_operator_again() -> None:
    one = operator(5, **EVERYTHING)
    assert read_recipe(recipe_of(one)) == one
    assert apply_recipe(recipe_of(one), SENTENCE.encode(), ASSET, 2) == one.derive(SENTENCE.encode(), ASSET, 2).data
    with pytest.raises(OperatorRefused):
        read_recipe(recipe_of(one).replace('"version":1', '"version":2'))


# --- features and sketches


def test_ngrams_of_a_text_do_not_depend_on_the_others() -> None:
    ngrams = Features((Ngrams(size=64), Ngrams("char_wb", 3, 4, 128, "none", signed=False)))
    texts = list(sentences(20).values())
    alone = [ngrams.extract([text]).values[0] for text in texts]
    assert ngrams.extract(texts).values == alone
    counts = np.frombuffer(alone[0] or b"", dtype="<f4")
    assert (len(counts), abs(float((counts[:64] ** 2).sum()) - 1) < 1e-6) == (192, True)
    assert (counts[64:] == counts[64:].round()).all()
    assert ngrams.extract([b"\xff"]).problems[0] is not None


def test_a_sketch_estimates_what_two_texts_share() -> None:
    text = " ".join(sentences(20)[key].decode() for key in sentences(20))
    for share in (1.0, 0.9, 0.5):
        other = text[: int(len(text) * share)] + "x" * int(len(text) * (1 - share))
        grams = [{one[n : n + 5] for n in range(len(one) - 4)} for one in (text.casefold(), other.casefold())]
        real = len(grams[0] & grams[1]) / len(grams[0] | grams[1])
        assert abs(float((sketch(text) == sketch(other)).mean()) - real) < 0.2
    assert (sketch("Ｆｕｌｌ  width") == sketch("full width")).all()
    assert sketch("a").shape == (HASHES,)


def test_near_rows_are_found_by_bands_and_not_all_with_all() -> None:
    chance = np.random.default_rng(0)
    sketches = chance.integers(0, 1 << 32, (500, HASHES), dtype=np.uint32)
    sketches[100] = sketches[7]
    sketches[200] = sketches[7]
    sketches[200, :6] = 0
    sketches[300] = sketches[8]
    sketches[300, ::2] = 0
    splits, assets = np.arange(500) % 2, np.arange(500)
    one, other = near_rows(sketches, splits, assets, 0.8)
    assert (
        {(7, 100), (7, 200)} <= set(zip(one.tolist(), other.tolist(), strict=True)) <= {(7, 100), (7, 200), (100, 200)}
    )
    assets[100] = assets[200] = assets[7]
    assert len(near_rows(sketches, splits, assets, 0.8)[0]) == 0, "the same asset is a duplicate, not a near one"


# --- stages


def test_the_stages_of_texts(workspace: Workspace) -> None:
    assets = sentences(40)
    assets["a/bad.txt"] = b"\xff\xfe\xff"
    fill(workspace, assets)
    prepare, augment, featurize = run(workspace)
    assert (prepare.rows, prepare.dropped) == (40, 1)
    assert [one.check for one in prepare.findings if one.check.startswith("broken")] == ["broken-text"]
    rows = workspace.read("data/augmented")
    copies = [row for row in rows if row["parent"] and "~" in row["key"]]
    assert len(copies) == 2 * sum(row["split"] == "train" for row in workspace.read("data/prepared"))
    assert {row["media_type"] for row in copies} == {"text/plain"}
    assert all(row["key"].endswith((".txt", "~1.txt", "~2.txt")) for row in rows)
    assert featurize.rows == augment.rows
    before = workspace.files("data")
    assert [report.computed for report in run(workspace)] == [0, 0, 0]
    assert workspace.files("data") == before


@pytest.mark.parametrize("jobs", [1, 3])
def test_workers_order_and_locale_do_not_show(workspace: Workspace, tmp_path: Path, jobs: int) -> None:
    assets = sentences(60)
    fill(workspace, assets)
    digests = [report.digest for report in run(workspace, jobs=jobs)]
    other = Workspace.make(tmp_path / "other")
    mixed = list(assets.items())
    random.Random(3).shuffle(mixed)
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "C")
        fill(other, dict(mixed))
        assert [report.digest for report in run(other)] == digests
    finally:
        locale.setlocale(locale.LC_ALL, before)


def test_near_duplicates_across_splits_are_told(workspace: Workspace) -> None:
    assets = sentences(40)
    for key in list(assets)[:10]:
        assets[key.replace(".txt", "-again.txt")] = assets[key] + b" Again!"
    fill(workspace, assets)
    (report, *_) = run(workspace)
    crossing = [one for one in report.findings if one.check == "near-texts-in-two-splits"]
    within = [one for one in report.findings if one.check == "near-texts"]
    assert len(crossing) == len(within) == 1
    assert crossing[0].severity == "warning"
    assert int(crossing[0].message.split()[0]) + int(within[0].message.split()[0]) == 10
    assert "group" in crossing[0].hint
    (quiet, *_) = run(workspace, PARAMS.replace("near_duplicates: 0.7", "near_duplicates: none"))
    assert quiet.findings == ()


def test_a_corpus_of_broken_files_is_a_finding_each_in_bounded_memory(workspace: Workspace) -> None:
    assets = sentences(10)
    broken = {
        "x/empty.txt": b"", "x/cut.txt": "ö".encode()[:1], "x/image.txt": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "x/zero.txt": b"a\0b", "x/utf16.txt": "text".encode("utf-16-be"), "x/huge.txt": b"a" * (MOST_BYTES + 1),
        "x/space.txt": b"\n" * 100, "x/long.txt": b"word " * 30_000, "x/pdf.txt": b"%PDF-1.4",
        "x/lone.txt": "\ud800".encode("utf-8", "surrogatepass"),
    }  # fmt: skip
    fill(workspace, {**assets, **broken})
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (report, *_) = run(workspace)
    told = [one.where for one in report.findings if one.check == "broken-text"]
    assert told == [f"data/raw:{key}" for key in sorted(broken)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 512 << 10
    with pytest.raises(StageRefused, match=r"10 broken text\(s\)"):
        run(workspace, PARAMS.replace("on_broken: drop", "on_broken: refuse"))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("prepare: {kind: text, resize: 8}", "prepare.resize"),
        ("prepare: {kind: text, encoding: klingon}", "prepare.encoding"),
        ("prepare: {kind: text, min_chars: 5, max_chars: 4}", "prepare"),
        ("prepare: {kind: texts}", "prepare.kind"),
        ("augment: {kind: text, operators: {rotate: {}}}", "augment.operators.rotate"),
        ("augment: {kind: text, mode: online, operators: {synonyms: {file: s}}}", "augment"),
        ("augment: {kind: text, fill: 3}", "augment.fill"),
        ("featurize: {extract: [{use: ngrams, low: 3, high: 2}]}", "featurize.extract.0"),
        ("featurize: {extract: [{use: ngrams, cell: 8}]}", "featurize.extract.0.cell"),
    ],
)
def test_params_that_do_not_fit_are_refused_before_anything_runs(workspace: Workspace, text: str, where: str) -> None:
    fill(workspace, sentences(4))
    stage = {"p": run_prepare, "a": run_augment, "f": run_featurize}[text[0]]
    with pytest.raises(BadSettings) as refused:
        stage(workspace.context(), workspace.params(text))
    assert refused.value.where.startswith(where)
    assert not (workspace.root / "data" / "prepared").exists()


def test_the_kind_is_found_by_its_name() -> None:
    assert kind_named("text").noun == "text"
    with pytest.raises(KeyError):
        kind_named("video")
