"""Sentences that fill the training documents and state no fact that is ever asked.

{s} is the entity as a subject (name, noun or pronoun), {e} its name or noun, {o} its possessive, {p} an invented
person, {t} an invented town, {a} an adjective, {w} a time of the year.
"""

ADJECTIVES = """famous curious modest strange popular delightful remarkable charming surprising splendid puzzling
pleasant memorable peculiar""".split()
TIMES = ("spring", "early summer", "late autumn", "winter", "the rainy season", "the harvest weeks", "the dry months")

# Classes of entity that share their filler.
FAMILIES = {
    "mountain": "land", "lake": "land", "river": "land", "planet": "sky", "town": "town", "country": "town",
    "bridge": "work", "ship": "work", "building": "work", "machine": "work", "lute": "work", "company": "company",
    "flower": "living", "bird": "living", "person": "person", "book": "art", "painting": "art",
    "battle": "event", "festival": "event",
}  # fmt: skip

ANY = """
People who hear the name of {e} for the first time often ask how it should be pronounced.
A short article about {e} was printed in a newspaper of {t} and was later copied by several others.
The archive in {t} keeps a thick folder of letters that mention {e} in passing.
There is an old saying about {e}, but only a few elderly people still remember it.
{p} once gave a lecture about {e} to a small but attentive audience in {t}.
Much of what is told about {e} goes back to rumours and should be read with care.
A collector in {t} owns several drawings of {e}, none of which has ever been shown in public.
The subject of {e} comes up again and again in the diaries of {p}.
Schoolchildren in the area learn a song about {e}, although hardly anyone knows who made it up.
Opinions about {e} differ, and the debate in the local papers has never quite ended.
A society of friends of {e} meets once a month in a tavern in {t}.
No complete description of {e} exists, because the early papers were lost in a fire.
The name of {e} is sometimes spelled in another way on older documents.
Some of the stories about {e} were invented by {p}, who liked to tease strangers.
Those who want to know more about {e} should ask the librarian in {t}, who answers every letter.
For a long time {e} received little attention from scholars, but this has slowly changed.
"""

BY_FAMILY = {
    "land": """
In {w} {s} is often hidden in mist, and the paths nearby become slippery.
Shepherds bring their animals close to {e} in {w}, when the grass there is at its best.
A narrow road leads from {t} towards {e} and ends beside a wooden shelter.
Painters and photographers come to see {e} because the light is so {a} in the evening.
Near {e} there is a small inn where walkers can rest and dry their clothes.
According to a legend, a giant sleeps close to {e} and turns over whenever there is thunder.
The land around {e} is thinly settled, and most of the farms were given up long ago.
In {w} the guide {p} takes small groups of visitors around {e} on foot.
The rocks and meadows near {e} belong to a nature reserve with strict rules.
""",
    "sky": """
Because {s} is so faint, a good telescope and a dark night are needed to find it.
The observatory at {t} has followed {e} night after night, except when clouds prevented it.
Children like {e} because of a {a} comic in which pirates hide there.
The astronomer {p} drew a map of {e} that later turned out to be mostly wrong.
Storms on {e} can last for weeks and are followed with great interest by researchers.
A probe was meant to fly past {e}, but the money ran out before it could be built.
In {w} {s} can be seen low above the horizon shortly before sunrise.
""",
    "town": """
In {w} the streets are full of traders from {t} who sell baskets and cloth.
Visitors describe {e} as a {a} place with friendly people and very good bakeries.
Trains from {t} arrive in the morning, and the last one leaves shortly after sunset.
A writer named {p} spent several winters in {e} and described the damp rooms with humour.
The streets of {e} are narrow, and deliveries must be made before the shops open.
The theatre and the library belong to the most {a} buildings one can visit in {e}.
In {w} a cold wind blows from the hills, and people in {e} stay close to their stoves.
Young people often leave {e} to study in {t}, but many come back later with their families.
A footpath with benches runs all the way around {e} and is popular on Sundays.
""",
    "work": """
In {w} {s} needs a good deal of care, because damp air does a lot of harm.
A model of {e} can be seen in the museum of {t}, next to the coats of the guild.
The repairs to {e} were paid for by a lottery that {p} organised.
Experts from {t} came to inspect {e} and were surprised by its good condition.
Many people thought that {e} would not last, but it has proved them wrong.
A postcard of {e} was sold in large numbers and can still be found in antique shops.
Because {s} is so {a}, students of engineering are often asked to make drawings of it.
Early reports about {e} praised the careful work and complained about the noise.
During a long strike nobody looked after {e}, and a thick layer of dust settled everywhere.
""",
    "company": """
The business of {e} suffered during a long strike but recovered within a few seasons.
In {w} {s} takes on extra hands, mostly from the villages around {t}.
The newspapers described {e} as a {a} firm that paid its bills on time.
An agent named {p} opened a branch of {e} in {t}, next to the post office.
Customers of {e} value the patience with which complaints are handled.
Once a year {e} invites all families to a picnic with races and a brass band.
A rival firm tried to buy {e}, but the owners declined the offer politely.
""",
    "living": """
In {w} {s} is easiest to find, especially at the edge of woods near {t}.
The naturalist {p} kept notes about {e} and sent them to a learned society.
Because {s} is so {a}, collectors used to pay far too much for a specimen.
Farmers around {t} believe that {e} brings good luck to a house.
Wet meadows and the banks of slow streams are where {e} feels at home.
A law now protects {e}, and anyone who harms it has to pay a fine.
In folk tales {e} often appears as a messenger that warns of bad weather.
Long frosts do great harm to {e}, and several cold seasons can make it rare.
""",
    "person": """
In {w} {s} liked to travel to {t}, mostly on foot and with very little luggage.
Friends described {e} as a {a} person who listened more than most people do.
For some time {s} shared a small flat in {t} with a cousin named {p}.
Neighbours remembered that {s} always kept a lamp burning in the window at night.
Few pictures of {e} exist, because sitting still for a painter was too boring.
With the money from an inheritance {s} bought a garden and filled it with apple trees.
A long quarrel with {p} ended only when both of them fell ill in {w}.
In old age {s} wrote short memoirs, which are kept in the library of {t}.
Although {s} was never rich, there was always food for guests in the house.
""",
    "art": """
The critics in {t} called {e} a {a} work and argued about it for weeks.
A copy of {e} was found in an attic, wrapped in old curtains and tied with string.
The widow {p} kept {e} in her bedroom and showed it only to close friends.
In {w} a club in {t} holds an evening at which people talk about nothing but {e}.
Some people think that {e} hides a message, but nobody has been able to explain it.
A forged version of {e} was once offered to a museum, which noticed the fraud at once.
Students often choose {e} as the subject of an essay, since so many questions remain open.
The mood of {e} is {a}, and many people say that it reminds them of their childhood.
""",
    "event": """
The weather during {e} was described by {p} in a long and {a} letter.
A small museum in {t} shows coats, boots and drums that are connected with {e}.
Families in {t} still tell stories about {e} when they sit together in {w}.
A ballad about {e} has so many verses that singers usually leave out half of them.
The field where {e} was held lies beside a stream and is now used as pasture.
Several inns close to the place have been named after {e}, which confuses travellers.
Without the help of volunteers from {t}, {e} would have ended very differently.
""",
}

OPENINGS = """
This short note is about {e}.
The following lines were taken from a travel guide that has a chapter about {e}.
Report of the commission on {e}.
Dear {p}, you asked me to write down what I know about {e}.
Some notes about {e} from a conversation in {t}.
Few subjects in this region are as {a} as {e}.
My dear friend, last week in {t} I finally learned something about {e}.
What should one know about {e}?
"""
CLOSINGS = """
More on this subject can be found in the library of {t}.
With kind regards, {p}.
That is all I could find out, and I hope that it is of use to you.
This report was checked by {p}.
"""
