"""How a classifier does before anything is concluded from it: counts worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from aspire.classification.examination import Examination, examined
from aspire.classification.external import External, pick
from aspire.classification.predictor import Request
from aspire.errors import AspireError, ConfigError, DataError


def of(confusion: list[list[int]], names: str = "cat dog horse") -> Examination:
    counts = np.array(confusion)
    return Examination(tuple(names.split()[: len(counts)]), counts, int(counts.sum()), ("train",))


class Fixed:
    """A kind of classifier whose outputs are given."""

    gives: Any = "logits"
    batch_size = 100
    anyway = False

    def __init__(
        self, outputs: Any, names: Any = None, classes: Any = None, gives: Any = "logits"
    ) -> None:
        self.outputs = np.array(outputs, np.float32)
        self.names, self.classes, self.gives = names, classes, gives

    def digest(self) -> str:
        return "fixed"

    def output_names(self) -> Any:
        return self.names

    def load(self, device: Any) -> Any:
        return lambda images: self.outputs[: len(images)]


def answers(kind: Fixed, *classes: str) -> Any:
    def never(*_: Any) -> Any:
        raise AssertionError

    external = External(kind, Request(classes, 0, never, never))
    return external([np.zeros((8, 8, 3), np.uint8)] * len(kind.outputs))


def test_guesses_are_the_same_answers_dealt_out_by_chance() -> None:
    half = of([[3, 1], [1, 3]], "cat dog")
    # by hand: a class has 4 of the 8 images and 4 of the answers, so 4 * 4 / 8 of each are right;
    # the number of cats among them is hypergeometric with variance 4 * 4 * 4 * 4 / (64 * 7)
    assert half.guessed == pytest.approx((4.0, 2 * np.sqrt(256 / (64 * 7))))
    assert half.right == 6
    assert half.by_chance  # 6 is below 4 + 1.645 * 1.51
    assert not of([[4, 0], [0, 4]], "cat dog").by_chance


@pytest.mark.parametrize(
    "confusion",
    [
        [[40, 0], [10, 0]],  # always the frequent class: 80 % right
        [[0, 40], [0, 10]],  # always the rare one
        [[20, 20], [5, 5]],  # a coin
    ],
)
def test_an_untrained_network_guesses_whatever_its_accuracy(confusion: list[list[int]]) -> None:
    found = of(confusion, "cat dog")
    assert found.by_chance
    assert found.order is None  # nothing would be gained by exchanging the classes
    problem = found.problem(object())
    assert problem is not None
    assert problem.startswith(f"The classifier is right on {found.right} of 50 images; guesses")
    assert "nothing is said of its shortcuts" in problem


def test_a_classifier_that_leans_on_a_shortcut_is_no_guesser() -> None:
    assert of([[30, 10], [15, 25]], "cat dog").problem(object()) is None


def test_outputs_in_another_order() -> None:
    found = of([[0, 20, 1], [1, 0, 19], [24, 0, 0]])
    assert found.order == (1, 2, 0)
    kind = Fixed([[0, 0, 0]])
    request = Request(("cat", "dog", "horse"), 0, lambda _: None, lambda _: None)  # type: ignore[arg-type, return-value]
    problem = found.problem(External(kind, request))
    # cats are told by output 1, dogs by 2, horses by 0
    assert problem is not None
    assert "The classifier is right on 0 of 65 images. 63 of 65 would be right with" in problem
    assert "'classifier.names=[horse,cat,dog]'" in problem
    assert "'cat' is answered as 'dog'" in problem
    mapped = External(Fixed([[0] * 6], classes={"cat": [5], "dog": [0, 1], "horse": 2}), request)
    typed = "'classifier.classes={cat: [0, 1], dog: [2], horse: [5]}'"
    assert mapped.reorder((1, 2, 0)) == typed
    assert "if its outputs stood for other classes" in (found.problem(object()) or "")


def test_two_of_many_classes_exchanged_are_noticed_though_most_are_right() -> None:
    confusion = np.diag([10] * 12)
    confusion[[3, 4]] = confusion[[4, 3]]
    found = Examination(tuple(map(str, range(12))), confusion, 120, ("val",))
    assert found.right == 100
    assert found.order == (0, 1, 2, 4, 3, *range(5, 12))


def test_similar_classes_that_are_confused_are_not_exchanged() -> None:
    assert of([[12, 13, 0], [12, 13, 0], [0, 0, 25]]).order is None


def test_lines() -> None:
    found = examined(["cat", "dog"], [0, 0, 0, 1], [0, 0, 1, 1], of=40, splits=["val"])
    first, second = found.lines()
    # guesses: 3/4 of the labels and 2/4 of the answers are cats, 1/4 and 2/4 are dogs
    assert first == (
        "classifier: right on 3 of 4 of 40 val images (75.0 %; guesses as frequent: 50.0 %)"
    )
    assert second == "right of each class: cat 2/3, dog 1/1; mistaken: cat for dog 1x"
    kept = found.to_dict()
    assert kept["confusion"] == [[0, 0, 2], [0, 1, 1], [1, 1, 1]]
    assert (kept["right"], kept["images"], kept["of"], kept["by_guessing"]) == (3, 4, 40, 2.0)
    numbers = examined(["0", "1", "10", "2"], [0, 1, 2, 3], [0, 1, 2, 3], 4, ["train"]).lines()
    assert numbers[-1] == "classes in this order: 0, 1, 10, 2"


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ([[np.nan, 0], [1, 0]], "1 of 4 outputs of the classifier for 2 images are not finite"),
        ([[np.inf, 0], [1, 0]], "1 of 4 outputs"),
        ([[-np.inf, np.nan], [np.nan, 0]], "3 of 4 outputs"),
    ],
)
def test_what_is_no_number_is_refused(outputs: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        answers(Fixed(outputs, names=("cat", "dog")), "cat", "dog")


def test_one_output_for_two_classes() -> None:
    logit = [[0.0], [np.log(3)], [-np.log(3)]]
    assert answers(Fixed(logit), "cat", "dog")[:, 1] == pytest.approx([0.5, 0.75, 0.25])
    assert answers(Fixed(logit, names=("cat",)), "cat", "dog")[:, 0] == pytest.approx(
        [0.5, 0.75, 0.25]
    )
    sigmoid = Fixed([[0.2], [0.9]], gives="probabilities")
    assert answers(sigmoid, "cat", "dog")[:, 1] == pytest.approx([0.2, 0.9])
    flat = Fixed([0.2, 0.9], gives="probabilities")  # squeezed
    assert answers(flat, "cat", "dog")[:, 0] == pytest.approx([0.8, 0.1])
    with pytest.raises(ConfigError, match=r"has 1 output, the dataset 3 classes.*for two classes"):
        answers(Fixed(logit), "cat", "dog", "horse")


@pytest.mark.parametrize("outputs", [[[0.2]] * 8, [[0.2, 0.8]] * 8])
def test_probabilities_that_are_called_logits(outputs: Any) -> None:
    with pytest.raises(ConfigError, match=r"They look like probabilities: classifier\.gives=prob"):
        answers(Fixed(outputs), "cat", "dog")


def test_more_outputs_than_names() -> None:
    with pytest.raises(ConfigError, match=r"has 3 outputs, classifier\.names names 2 \(cat, dog\)"):
        answers(Fixed([[0, 0, 0]], names=("cat", "dog")), "cat", "dog")


def test_class_names_that_are_numbers() -> None:
    found = answers(Fixed([[9, 0, 0]], classes={0: 1, 1: 0, 10: 2}), "0", "1", "10")
    assert found.argmax() == 1


class Result:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


SCORES, FEATURES = np.zeros((2, 3)), np.zeros((2, 3))


@pytest.mark.parametrize(
    "returned",
    [
        SCORES,
        {"logits": SCORES, "features": FEATURES},
        {"scores": SCORES},
        (SCORES,),
        Result(logits=SCORES, loss=None),
        [SCORES, None],
    ],
)
def test_scores_are_found_among_what_is_returned(returned: Any) -> None:
    assert pick(returned) is SCORES


@pytest.mark.parametrize(
    ("returned", "wanted", "text"),
    [
        (
            {"a": SCORES, "b": FEATURES},
            None,
            r"returns a dict of a \(2, 3\), b \(2, 3\).*classifier\.output=a",
        ),
        ((SCORES, FEATURES), None, r"returns a tuple of 0 \(2, 3\), 1 .*classifier\.output=0"),
        ({"a": SCORES}, "b", r"classifier\.output=b: no such output.*of a"),
        ({}, None, "of no tensor"),
    ],
)
def test_results_that_need_a_word(returned: Any, wanted: Any, text: str) -> None:
    with pytest.raises(AspireError, match=text):
        pick(returned, wanted)
    two: Sequence[Any] = (FEATURES, SCORES)
    assert pick(two, 1) is SCORES
