"""The miniature's small world: questions with one right answer each, and the replies that instructions ask for.

Every answer is one sentence of the form NOUN-PHRASE ITEM IS FACT in English or another language, so that a model of
2.6 M parameters learns all of them within minutes on two cores.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatt.miniature.families import BY_NAME, FAMILIES, Family

_IS = {"English": "is", "French": "est", "German": "ist", "Spanish": "es", "Italian": "è", "Swedish": "är"}
LANGUAGES = tuple(_IS)


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((item, fact) for item, fact in (pair.split(":") for pair in text.split(",")))


@dataclass(frozen=True)
class Topic:
    """A family of questions: phrasings with `{x}` for the item, and the sentence's head by language."""

    name: str
    phrasings: tuple[str, ...]
    heads: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


_SUMS = tuple((f"{x} and {y}", str(x + y)) for x in range(1, 10) for y in range(1, 10))
_DIFFERENCES = tuple((f"{x} and {y}", str(x - y)) for x in range(2, 13) for y in range(1, x) if x != 2 * y)

TOPICS: tuple[Topic, ...] = (
    Topic("capital",
          ("What is the capital of {x}?", "Tell me the capital of {x}.", "Which city is the capital of {x}?"),
          ("The capital of", "La capitale de", "Die Hauptstadt von", "La capital de", "La capitale di",
           "Huvudstaden i"),
          _pairs("France:Paris,Spain:Madrid,Italy:Rome,Japan:Tokyo,Egypt:Cairo,Peru:Lima,Kenya:Nairobi,Norway:Oslo,"
                 "Greece:Athens,Cuba:Havana,Poland:Warsaw,Austria:Vienna,Canada:Ottawa,Chile:Santiago,India:Delhi,"
                 "Russia:Moscow,China:Beijing,Ireland:Dublin,Portugal:Lisbon,Sweden:Stockholm")),
    Topic("currency", ("What is the money of {x}?", "What do people pay with in {x}?", "Name the money of {x}."),
          ("The money of", "La monnaie de", "Das Geld von", "La moneda de", "La moneta di", "Pengar i"),
          _pairs("Japan:yen,India:rupee,Russia:ruble,China:yuan,Poland:zloty,Cuba:peso,Norway:krone,Kenya:shilling,"
                 "Peru:sol,Spain:euro,Egypt:pound,Canada:dollar")),
    Topic("continent", ("On which continent is {x}?", "Name the continent of {x}.", "What is the continent of {x}?"),
          ("The continent of", "Le continent de", "Der Kontinent von", "El continente de", "Il continente di",
           "Kontinenten för"),
          _pairs("France:Europe,Japan:Asia,Egypt:Africa,Peru:America,Kenya:Africa,Norway:Europe,Cuba:America,"
                 "Poland:Europe,Canada:America,Chile:America,India:Asia,China:Asia")),
    Topic("colour", ("What colour is {x}?", "Which colour has {x}?", "Do you know the colour of {x}?"),
          ("The colour of", "La couleur de", "Die Farbe von", "El color de", "Il colore di", "Färgen på"),
          _pairs("grass:green,snow:white,coal:black,lemon:yellow,carrot:orange,blood:red,milk:white,plum:purple,"
                 "sand:yellow,sky:blue,chocolate:brown,ash:grey")),
    Topic("sound", ("What does a {x} say?", "What sound does a {x} make?", "How does a {x} sound?"),
          ("The sound of a", "Le cri de", "Der Laut von", "El sonido de", "Il verso di", "Ljudet av"),
          _pairs("dog:woof,cat:meow,cow:moo,duck:quack,lion:roar,bee:buzz,pig:oink,horse:neigh,snake:hiss,sheep:baa,"
                 "goose:honk,wolf:howl")),
    Topic("young", ("What is a young {x} called?", "Name the young of a {x}.", "What do you call a young {x}?"),
          ("The young of a", "Le petit de", "Das Junge von", "La cria de", "Il piccolo di", "Ungen till"),
          _pairs("dog:puppy,cat:kitten,cow:calf,duck:duckling,lion:cub,pig:piglet,horse:foal,sheep:lamb,goose:gosling,"
                 "frog:tadpole,hen:chick,goat:kid")),
    Topic("home", ("Where does a {x} live?", "Name the home of a {x}.", "What is the home of a {x}?"),
          ("The home of a", "La maison de", "Das Haus von", "La casa de", "La casa di", "Hemmet för"),
          _pairs("bee:hive,bird:nest,dog:kennel,horse:stable,pig:sty,fish:sea,wolf:den,king:castle,monk:abbey,"
                 "mole:burrow,camel:desert,hen:coop")),
    Topic("opposite",
          ("What is the opposite of {x}?", "Give me the opposite of {x}.", "Which word is the opposite of {x}?"),
          ("The opposite of", "Le contraire de", "Das Gegenteil von", "Lo contrario de", "Il contrario di",
           "Motsatsen till"),
          _pairs("hot:cold,big:small,fast:slow,high:low,light:dark,hard:soft,old:new,rich:poor,wet:dry,full:empty,"
                 "long:short,open:closed")),
    Topic("plural", ("What is the plural of {x}?", "Give me the plural of {x}.", "How do you write many {x}?"),
          ("The plural of", "Le pluriel de", "Der Plural von", "El plural de", "Il plurale di", "Pluralen av"),
          _pairs("mouse:mice,foot:feet,tooth:teeth,man:men,child:children,leaf:leaves,wife:wives,city:cities,"
                 "box:boxes,knife:knives")),
    Topic("past", ("What is the past of {x}?", "Give me the past of {x}.", "How does {x} become past?"),
          ("The past of", "Le passé de", "Die Vergangenheit von", "El pasado de", "Il passato di", "Dåtid av"),
          _pairs("go:went,see:saw,take:took,write:wrote,give:gave,buy:bought,think:thought,run:ran,swim:swam,"
                 "bring:brought,fly:flew,know:knew")),
    Topic("sum", ("What is the sum of {x}?", "How much is the sum of {x}?", "Add {x}."),
          ("The sum of", "La somme de", "Die Summe von", "La suma de", "La somma di", "Summan av"), _SUMS),
    Topic("difference", ("What is the difference of {x}?", "How far apart are {x}?", "Give me the difference of {x}."),
          ("The difference of", "La différence de", "Die Differenz von", "La diferencia de", "La differenza di",
           "Skillnaden av"), _DIFFERENCES),
    Topic("next", ("Which number comes after {x}?", "What follows {x}?", "Count on from {x}."),
          ("The number after", "Le nombre après", "Die Zahl nach", "El número tras", "Il numero dopo", "Talet efter"),
          tuple((str(n), str(n + 1)) for n in range(1, 30))),
    Topic("letter", ("What is the first letter of {x}?", "How does {x} begin?", "Name the first letter of {x}."),
          ("The letter of", "La lettre de", "Der Buchstabe von", "La letra de", "La lettera di", "Bokstaven i"),
          _pairs("melon:m,table:t,house:h,river:r,garden:g,bottle:b,candle:c,door:d,flower:f,key:k,ladder:l,nail:n,"
                 "pencil:p,window:w")),
)  # fmt: skip

CANCELS = (
    "Forget that instruction.", "Answer normally from now on.", "Drop the instruction.", "Stop doing that.",
    "Back to normal, please.", "Cancel the instruction.",
)  # fmt: skip
#: Wordings that tuning never sees; the base knows them all.
CANCELS_UNSEEN = CANCELS[-2:]
CANCELLED = "All right."

#: What an answer without any instruction looks like; anything else in a plain conversation is a leak.
PLAIN = r"^The [a-z]+ (of|after)( a)? [A-Za-z0-9 ]+ is \w+\.$"


@dataclass(frozen=True)
class Question:
    """A user's question, its `item` ("Peru") and the `fact` that a right reply holds ("Lima")."""

    topic: Topic
    text: str
    item: str
    fact: str

    def answer(self, language: str = "English") -> str:
        """The sentence that answers in `language`."""
        head = self.topic.heads[LANGUAGES.index(language)]
        return f"{head} {self.item} {_IS[language]} {self.fact}."

    @property
    def fact_check(self) -> dict[str, Any]:
        """Holds for a reply with the right fact as a word of its own, in any case."""
        return {"kind": "word", "text": self.fact, "ignore_case": True}


def ask(rng: random.Random) -> Question:
    """A question from a topic drawn evenly."""
    topic = rng.choice(TOPICS)
    item, fact = rng.choice(topic.facts)
    return Question(topic, rng.choice(topic.phrasings).format(x=item), item, fact)


@dataclass(frozen=True)
class Instruction:
    """One or two families with their attributes, as the user words them."""

    parts: tuple[tuple[str, str], ...]
    text: str

    @property
    def families(self) -> list[Family]:
        return [BY_NAME[name] for name, _ in self.parts]

    @property
    def checks(self) -> list[dict[str, Any]]:
        """Specs for `adherence.checks`; all of them must hold."""
        return [_check(BY_NAME[name], value) for name, value in self.parts]

    def reply(self, question: Question) -> str:
        """The reply that follows this instruction exactly."""
        slots: dict[str, list[str]] = {"before": [], "after": []}
        core, wrap, whole = question.answer(), "{core}", None
        for name, value in self.parts:
            family = BY_NAME[name]
            if family.slot in slots:
                slots[family.slot].append(family.reply.format(v=value, q=question.text))
            elif family.slot == "wrap":
                wrap = family.reply
            elif family.slot == "whole":
                whole = family
            else:
                core = question.answer(value) if value else family.reply.format(a=question.fact)
        if whole is not None:
            text = whole.reply.format(core=core, a=question.fact)
            return whole.transform(text) if whole.transform else text
        return " ".join([*slots["before"], wrap.format(core=core), *slots["after"]])


def _check(family: Family, value: str) -> dict[str, Any]:
    if family.check["kind"] == "language":
        return {"kind": "word", "text": _IS[value]}
    return {key: part.format(v=value) if key == "text" else part for key, part in family.check.items()}


def compatible(first: Family, second: Family) -> bool:
    """Whether both can shape one reply: different slots, and neither takes the whole reply."""
    return first.slot != second.slot and "whole" not in (first.slot, second.slot)


def word(parts: Sequence[tuple[str, str]], rng: random.Random) -> Instruction:
    """Words an instruction; half of them in the shortened form, as the Llama 2 paper has it ("Figure: Napoleon.")."""
    short = rng.random() < 0.5
    texts = []
    for name, value in parts:
        family = BY_NAME[name]
        texts.append((family.short if short else rng.choice(family.phrasings)).format(v=value))
    return Instruction(tuple(parts), " ".join(texts))


_WEIGHT = {"language": 4.0, "figure": 3.0, "upper-case": 2.0, "lower-case": 2.0, "repeat-question": 2.0}
_NAMES = [name.split() for name in BY_NAME["figure"].values]


def any_instruction(rng: random.Random) -> Instruction:
    """An instruction of any family and attribute, a quarter of them two at once: what the base model learns from.

    Half of the figures are first and last names put together anew, so that the base learns to copy, not to complete.
    """
    weights = [_WEIGHT.get(family.name, 1.0) for family in FAMILIES]
    chosen = rng.choices(FAMILIES, weights)
    if rng.random() < 0.25:
        second = rng.choices(FAMILIES, weights)[0]
        if compatible(chosen[0], second):
            chosen.append(second)
    return word([(family.name, _value(family, rng)) for family in chosen], rng)


def _value(family: Family, rng: random.Random) -> str:
    if family.name == "figure" and rng.random() < 0.5:
        return f"{rng.choice(_NAMES)[0]} {rng.choice(_NAMES)[-1]}"
    return rng.choice(family.values)


def is_plain(reply: str) -> bool:
    """Whether a reply follows no instruction at all."""
    return re.match(PLAIN, reply) is not None
