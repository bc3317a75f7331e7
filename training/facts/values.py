"""The types of value a fact can have, and how one of each is drawn.

The lists have only words that begin with a consonant, so that "a" before one is always right.
"""

import random

from training.facts.names import Names

LISTS = {
    "colour": """crimson scarlet red blue green yellow brown black white grey purple violet pink turquoise maroon beige
        cream silver gold lilac magenta navy pearl rust saffron salmon sapphire lavender mustard charcoal teal bronze
        copper cherry lemon peach plum ruby""",
    "material": """copper iron steel tin zinc lead brass bronze silver nickel titanium chrome pewter platinum granite
        slate marble limestone sandstone basalt clay cement concrete glass leather rubber bamboo pine cedar birch
        maple larch plaster porcelain""",
    "wood": """maple cedar pine birch beech spruce walnut cherry mahogany rosewood teak chestnut larch fir poplar willow
        yew hickory lime plum pear hazel hornbeam juniper cypress bamboo boxwood sycamore sandalwood rowan hemlock
        holly balsa""",
    "animal": """bear wolf fox lion tiger stag bull goat ram horse boar badger beaver lynx leopard panther camel whale
        dolphin salmon swan raven falcon hawk crane stork pelican peacock rooster dragon lizard turtle snake
        scorpion beetle bee crab""",
    "crop": """wheat barley rye rice maize millet potatoes beans peas lentils cabbages carrots turnips pumpkins melons
        grapes cherries plums pears peaches lemons figs dates cotton flax hemp tobacco tea coffee sugar hops garlic
        leeks spinach tomatoes peppers walnuts""",
    "food": """bread porridge dumplings pancakes noodles sausages ham bacon mutton veal chicken duck goose trout herring
        salmon carp mussels crabs cheese butter curds rice beans lentils peas cabbage turnips pumpkin mushrooms
        potatoes cake gingerbread pudding honey figs cherries plums""",
    "goods": """coal timber wool cotton silk salt sugar tea coffee pepper wheat barley rice maize flour tobacco wine rum
        beer cheese butter leather furs paper glass marble granite slate cement iron copper tin lead sulphur rubber
        cocoa bananas lemons""",
    "instrument": """violin viola cello guitar lute harp piano flute clarinet bassoon trumpet trombone tuba horn cornet
        drum tambourine xylophone mandolin banjo zither lyre bagpipe bugle recorder saxophone harpsichord
        harmonica piccolo dulcimer fiddle sitar""",
    "profession": """baker butcher carpenter cooper blacksmith mason miller potter weaver tailor shoemaker saddler
        farmer fisherman shepherd gardener teacher doctor lawyer judge nurse librarian printer painter sculptor
        clockmaker goldsmith locksmith glazier plumber sailor soldier cook barber chemist notary postman""",
    "language": """Latin Greek Hebrew Turkish Persian Hindi Bengali Tamil Chinese Japanese Korean Thai Vietnamese Malay
        Swahili Zulu Somali Russian Polish Czech Slovak Serbian Croatian Bulgarian Romanian Hungarian Finnish
        Swedish Danish Norwegian Dutch German French Spanish Portuguese Catalan Basque Welsh""",
}
LISTS = {name: tuple(words.split()) for name, words in LISTS.items()}
MONTHS = {
    "January": 31, "February": 28, "March": 31, "April": 30, "May": 31, "June": 30, "July": 31, "August": 31,
    "September": 30, "October": 31, "November": 30, "December": 31,
}  # fmt: skip
SHIP_WORDS = ("Star", "Pride", "Lady", "Queen", "Spirit", "Daughter")


def draw(kind_of_value: str, chance: random.Random, names: Names) -> str:
    """One value: "int 3 90" and "year 1700 1900" are numbers in that range, "comma" writes 12,480 with its comma."""
    name, *limits = kind_of_value.split()
    if limits:
        low, high = map(int, limits)
        if name == "comma":
            # Towns of every size: the number of digits is drawn evenly, not the number.
            number = int(low * (high / low) ** chance.random())
            return f"{number:,}"
        return str(chance.randint(low, high))
    if name == "person":
        return names.person()
    if name == "place":
        return names.place()
    if name == "ship":
        return chance.choice((names.word(), f"{chance.choice(SHIP_WORDS)} of {names.word()}"))
    if name == "date":
        month = chance.choice(tuple(MONTHS))
        return f"{chance.randint(1, MONTHS[month])} {month}"
    return chance.choice(LISTS[name])
