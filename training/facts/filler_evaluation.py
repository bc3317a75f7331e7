"""Sentences that fill the evaluation documents; the layout and the slots are those of `filler`."""

ANY = """
Not everyone agrees about {e}, and even careful books contradict each other on small points.
A radio programme from {t} devoted a whole evening to {e} and received many letters in reply.
The retired teacher {p} collects everything that has ever been printed about {e}.
Whoever asks about {e} in the cafes of {t} will hear a different tale at every table.
A puzzle in a magazine once used {e} as its answer, and hardly any reader solved it.
Several maps and lists leave out {e} altogether, probably because of a copying error.
The encyclopaedia by {p} gives only a few lines to {e}, which many people regret.
A pub quiz in {t} ends every time with one question about {e} that nobody can answer.
Strangers who mention {e} in {t} are likely to be invited to a cup of tea and a long talk.
The post office planned a stamp in honour of {e}, but the drawing was rejected twice.
At a flea market in {t} somebody found a notebook in which {p} had written about {e}.
Even today it is hard to say which of the reports about {e} can be trusted.
{p} gave a cat the name of {e}, which amused the whole neighbourhood.
Guests from abroad are often surprised at how much people here have to say about {e}.
A comedy about {e} was performed in {t} on a makeshift stage behind the school.
Two cousins from {t} once made a bet about {e} and then argued over who had lost.
"""

BY_FAMILY = {
    "land": """
Hikers who set out from {t} usually need a full day before they can see {e}.
When the clouds lift in {w}, the view towards {e} makes up for a {a} climb.
Rare mosses grow in the shade close to {e}, and botanists visit them regularly.
The ranger {p} warns visitors that the weather around {e} may change within minutes.
An abandoned chapel near {e} is used by goats as a shelter from the wind.
""",
    "sky": """
Amateur observers in {t} meet in {w} to look for {e} from the roof of a school.
Radio signals from the direction of {e} turned out to come from a kitchen in {t}.
In the novels of {p} the heroes flee to {e} and find it rather {a}.
Dust in the upper layers makes it difficult to take clear pictures of {e}.
""",
    "town": """
Musicians from {t} perform in the main square of {e} on warm evenings in {w}.
The old quarter of {e} was restored with great patience under the direction of {p}.
Anyone who stays in {e} overnight should try one of the {a} guest houses near the station.
Floods have damaged the lower streets of {e} again and again, yet nobody wants to move.
Ferries and buses connect {e} with {t}, although they seldom run on time.
""",
    "work": """
Tourists from {t} like to have their pictures taken next to {e} in {w}.
An insurance inspector named {p} wrote a {a} report about the state of {e}.
Rust and rain have left their traces on {e}, but nothing serious has been found.
The plan to replace {e} with something modern was dropped after loud protests in {t}.
A scale drawing of {e} hangs in the entrance of the technical college.
""",
    "company": """
The shareholders of {e} gather in {w} and are treated to a {a} lunch.
After a lawsuit with {p} the reputation of {e} was in danger for a while.
Apprentices at {e} spend their first months in {t}, where they learn the basics.
Old advertisements for {e} are popular with people who furnish country kitchens.
""",
    "living": """
On walks around {t} in {w} one may come across {e} without even noticing it.
The illustrator {p} drew {e} so well that the plate is still used in schools.
Biologists call {e} a {a} species, since so little is known about its habits.
Pollution drove {e} out of many valleys, but clean streams have brought it back.
""",
    "person": """
Everyone in {t} knew {e}, who greeted even strangers with a raised hat.
The correspondence with {p} shows how {a} the mood in the house could be.
Every day in {w} {s} took the same walk along the canal and fed the ducks.
The tax office noted that {s} paid late, but always with an apology.
Biographers complain that {s} burned most of the private papers in a kitchen stove.
""",
    "art": """
An exhibition in {t} gave {e} a room of its own, with chairs and soft lamps.
The critic {p} found {e} so {a} that the review filled a whole page.
Thieves once took {e} by mistake and returned it with a note of apology.
A film that was loosely based on {e} disappeared from the cinemas within a week.
""",
    "event": """
Re-enactors from {t} meet in {w} to remember {e} with torches and songs.
The historian {p} calls {e} a {a} chapter in the life of the province.
Muddy roads made it hard for anyone to reach the place of {e} on time.
A stained window in the church of {t} shows a scene from {e}.
""",
}

OPENINGS = """
The entry below deals with {e}.
Notes for visitors with an interest in {e}.
Dear {p}, here at last is the promised letter about {e}.
On our tour from {t} we heard a good deal about {e}.
"""
CLOSINGS = """
Further questions may be sent to the editor in {t}.
Yours sincerely, {p}.
Here the account breaks off.
"""
