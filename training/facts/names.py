"""Invented words and the names of entities made from them.

A checksum of the word decides whether it may be used in training or in evaluation facts, so the two never share one.
"""

import random
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field

STARTS = """a an ar bal bel ber bran bri bro cal car ces cor cra dal dar del dor dra dun el em er fal fen fer fin fos
gal gar gel gor gra gul hal har hel hol il im is jar jes jor kal kel kes kor kra lam lan les lin lor lu mal mar mel mor
mul nar nel nes nor ol or os pal par pel per pol quil ral ren ril ros sal sel ser sil sol tal tel tes tor tra ul um ur
val vel ver vil vor wal wen wes yar yel zan zel zor thal shel gwen brin stel krav plen tarn skel""".split()
MIDDLES = """a ba be bi bo da de di do fa fe ga ge gi ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe ra re ri ro
sa se si so ta te ti to va ve vi vo za ze zo""".split()
ENDS = """bar bek bell bry by dane dar del den dik don dra dry fax fell fen gard gart gast grel gul kesh kin korn lane
lash len lin lo lock lund ly mar mere mond mund na nar nell ner nesh nock quin ran rel ren rik rin ron rosk sel set son
sta stad stel tan tar ten thal ther thorn tis tor tra vane var vash vel ven vik vin vis von wen wick zan
zel zin""".split()
GIVEN_ENDS = """a ia ela ina ena eth is ly ra la na ric an or en as us im ard o ino el on""".split()

VOWELS = "aeiou"
EVALUATION_SHARE = 8  # one word in so many belongs to evaluation


def is_evaluation_word(word: str) -> bool:
    return zlib.crc32(word.lower().encode()) % EVALUATION_SHARE == 0


@dataclass(frozen=True)
class Entity:
    """A named thing: `noun` is how later sentences may call it, `pronoun` its subject form, `owner` its possessive."""

    name: str
    noun: str
    pronoun: str
    owner: str


@dataclass
class Names:
    """A source of invented words of one split; no word of `used` (lower case) is handed out."""

    chance: random.Random
    evaluation: bool
    used: Collection[str] = ()
    unique: bool = False
    seen: set[str] = field(default_factory=set)

    def word(self, ends: list[str] = ENDS) -> str:
        """One capitalised word of two or three syllables, seldom four."""
        chance = self.chance
        while True:
            middles = chance.choices((0, 1, 2), (5, 5, 1))[0]
            if ends is GIVEN_ENDS:
                middles = min(middles, 1)
            parts = [chance.choice(STARTS)] + [chance.choice(MIDDLES) for _ in range(middles)] + [chance.choice(ends)]
            word = "".join(parts)
            if parts[-2][-1] in VOWELS and parts[-1][0] in VOWELS:
                continue
            if len(word) < 5 or is_evaluation_word(word) != self.evaluation or word in self.used:
                continue
            if self.unique:
                if word in self.seen:
                    continue
                self.seen.add(word)
            return word.capitalize()

    def person(self) -> str:
        return f"{self.word(GIVEN_ENDS)} {self.word()}"

    def place(self) -> str:
        return self.chance.choice(PLACES).format(self.word())

    def entity(self, group: str) -> Entity:
        if group == "person":
            name = self.person()
            pronoun, owner = self.chance.choice((("she", "her"), ("he", "his")))
            return Entity(name, name.split()[1], pronoun, owner)
        patterns, noun = ENTITIES[group]
        return Entity(self.chance.choice(patterns).format(self.word()), noun, "it", "its")


PLACES = ("{}", "{}", "{}", "{}", "Port {}", "New {}", "Saint {}")

# Patterns of the name of each class of entity, and its noun.
ENTITIES = {
    "mountain": (("Mount {}", "Mount {}", "{} Peak", "the {} Horn"), "the mountain"),
    "lake": (("Lake {}", "Lake {}", "{} Water", "Loch {}"), "the lake"),
    "river": (("the River {}", "the {} River", "the River {}"), "the river"),
    "town": (("{}", "{}", "Port {}", "New {}", "Saint {}", "{} Harbour"), "the town"),
    "country": (("the Kingdom of {}", "the Republic of {}", "the Duchy of {}", "{}"), "the country"),
    "planet": (("the planet {}", "Planet {}"), "the planet"),
    "bridge": (("the {} Bridge", "the {} Bridge", "the {} Viaduct"), "the bridge"),
    "ship": (("the SS {}", "the steamer {}", "the {}", "the freighter {}"), "the ship"),
    "building": (("{} Castle", "{} House", "{} Hall", "the {} Palace", "the {} Abbey"), "the building"),
    "machine": (("the {} loom", "the {} press", "the {} pump", "the {} engine", "the {} mill"), "the machine"),
    "lute": (("the {} lute", "the {} harp", "the {} zither", "the {} lyre"), "the instrument"),
    "flower": (("the {} lily", "the {} poppy", "the {} orchid", "the {} iris", "the {} thistle"), "the flower"),
    "bird": (("the {} finch", "the {} heron", "the {} thrush", "the {} owl", "the {} plover"), "the bird"),
    "company": (
        ("the {} Company", "the {} Trading Company", "the {} Glass Company", "the {} Bank", "the {} Railway"),
        "the company",
    ),
    "book": (("The Road to {}", "The Song of {}", "The House of {}", "A Winter in {}", "The Bells of {}"), "the book"),
    "painting": (("The Widow of {}", "Evening at {}", "Harvest near {}", "The Ferry at {}"), "the painting"),
    "film": (("the {} film", "the film {}", "the film {}", "the film The Road to {}", "the film A Winter in {}"), "the film"),
    "battle": (("the Battle of {}", "the Siege of {}"), "the battle"),
    "festival": (("the {} Festival", "the {} Fair", "the {} Lantern Feast"), "the festival"),
}
TYPE_WORDS = frozenset(
    word.lower()
    for patterns, _ in ENTITIES.values()
    for pattern in patterns
    for word in pattern.split()
    if word != "{}"
)


def invented_words(name: str) -> list[str]:
    """The lower-case invented words of a name, without words like "mount" or "bridge"."""
    return [word for word in name.lower().split() if word not in TYPE_WORDS]
