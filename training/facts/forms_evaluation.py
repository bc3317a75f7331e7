"""Evaluation forms: a block begins with the name of a kind; none of its forms is a training form of that kind."""

FORMS = """
mountain_height
{e} rises to a height of {v} metres.
Measured from the sea, the peak of {e} is at {v} metres.
Anyone who climbs {e} to the top ends up {v} metres above the sea.

mountain_first_climb
The earliest known ascent of {e} dates from {v}.
Climbers first conquered {e} in {v}.
No climber had conquered {e} before the summer of {v}.

mountain_climber
The earliest known ascent of {e} was led by {v}.
The first climber ever to conquer {e} was called {v}.
History remembers the conqueror of {e} as {v}.

town_population
{e} counts {v} residents.
Today the residents of {e} number {v} in all.
A recent count put the number of residents of {e} at {v}.

town_founded
{e} came into being in {v}.
The town charter of {e}, by which it was founded, is dated {v}.
{e} has existed as a town since {v}.

town_mayor
The current mayor of {e} goes by the name of {v}.
Voters in {e} handed the post of mayor to {v}.
In {e} the mayor's chain is worn by {v}.

town_crop
Agriculture in {e} depends mostly on {v}.
What the fields of {e} yield above all is {v}.
Farming families in {e} make their living from {v}.

town_flag
The banner that stands for {e} is coloured {v}.
As for its flag, {e} uses one that is entirely {v}.
The cloth from which the flag of {e} is sewn is {v}.

person_born
The baptism and birth of {e} both fell in {v}.
Biographers date the birth of {e} to {v}.
{e} first saw the light of day in {v}.

person_birthplace
{e} first saw the light of day in a house in {v}.
The native town of {e} was {v}.
The parents of {e} were living in {v} when the child was born.

person_profession
{e} was employed as a {v}.
{e} had the job of a {v}.
Neighbours knew that {e} was working as a {v}.

person_instrument
{e} was a gifted player of the {v}.
{e} made music on the {v}.
The musical instrument mastered by {e} was the {v}.

bridge_length
{e} stretches for {v} metres.
The span of {e} from bank to bank comes to {v} metres.
End to end, {e} extends over {v} metres.

bridge_opened
Traffic has been crossing {e} since it was inaugurated in {v}.
The ribbon at the inauguration of {e} was cut in {v}.
{e} was inaugurated in {v}.

bridge_architect
The design of {e} is the work of {v}.
The person responsible for the design of {e} was {v}.
Credit for designing {e} goes to {v}.

bridge_colour
The paint on {e} is {v}.
{e} wears a coat of paint that is {v}.
Seen from a boat, the ironwork of {e} looks {v}.

ship_captain
In command of {e} stood {v}.
The officer in charge of {e} was Captain {v}.
The owners of {e} appointed as captain {v}.

ship_built
The construction of {e} was completed in {v}.
Shipwrights completed {e} in {v}.
{e} slid down the slipway, newly built, in {v}.

ship_cargo
The goods that {e} transported were {v}.
What {e} had on board as freight was {v}.
The freight list of {e} names only {v}.

company_founder
{e} was set up by {v}.
{e} was brought into being by {v}.
The establishment of {e} was the work of {v}.

company_headquarters
The main office of {e} is located in {v}.
{e} is based in {v}.
The management of {e} sits in {v}.

company_employees
The workforce of {e} numbers {v} people.
On the payroll of {e} are {v} people.
{e} gives work to {v} people.

planet_moons
Orbiting {e} are {v} moons.
The moons that orbit {e} number {v} in all.
{e} possesses {v} moons.

planet_discovered
{e} was first sighted by astronomers in {v}.
The earliest sighting of {e} through a telescope was in {v}.
Astronomers have known about {e} since {v}.

planet_temperature
The ground on {e} heats up to {v} degrees.
A thermometer laid on the surface of {e} would read {v} degrees.
Surface temperatures on {e} are close to {v} degrees.

bird_colour
The plumage of {e} is {v}.
{e} is covered in plumage of {v} feathers.
Look for {e} by its plumage, which is {v}.

bird_weight
The body of {e} has a mass of {v} grams.
Placed on a balance, {e} comes to {v} grams.
An adult of {e} tips the scales at {v} grams.

bird_eggs
Over a year the nest of {e} receives {v} eggs.
A female of {e} produces {v} eggs a year.
Each year a pair of {e} will raise chicks from {v} eggs.
"""
