"""What makes one message."""

from backstay.watch.incidents.notification import Delivery, Word
from backstay.watch.notify.grouping import next_batch, pieces
from tests.watch.causes import DISK, incident, over, telling

DOWN = incident()
FULL = incident(DISK, id=13)


def test_what_is_due_within_a_moment_is_one_message() -> None:
    due = [(telling(FULL, made=20.0), FULL), (telling(DOWN, made=10.0), DOWN)]
    assert [one.incident for one, _ in next_batch(due, grouped=True)] == [12, 13]
    assert [one.incident for one, _ in next_batch(due, grouped=False)] == [12]


def test_what_was_tried_goes_out_again_as_it_was() -> None:
    tried = telling(DOWN, made=10.0, attempts=1, state=Delivery.SENDING)
    due = [(telling(FULL, made=5.0), FULL), (tried, DOWN)]
    assert next_batch(due, grouped=True) == [(tried, DOWN)]


def test_of_several_words_the_one_that_matters_is_said() -> None:
    for words, said in (
        ([Word.OPENED, Word.CHANGED], Word.OPENED),
        ([Word.OPENED, Word.CHANGED, Word.ASKED], Word.ASKED),
        ([Word.ASKED, Word.ACTED], Word.ACTED),
        ([Word.OPENED, Word.ASKED, Word.CLOSED], Word.CLOSED),
        ([Word.CHANGED, Word.CHANGED], Word.CHANGED),
    ):
        one = over(DOWN)
        [piece] = pieces([(telling(one, word), one) for word in words])
        assert piece.word is said
        assert len(piece.tellings) == len(words)
