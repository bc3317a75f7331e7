"""Training forms of the facts about the land: mountains, lakes, rivers, towns, countries, planets.

A block begins with `kind | class of entity | type of value`; every other line is one form: {e} entity, {v} value.
"""

FORMS = """
mountain_height | mountain | int 310 4900
{e} is {v} metres high.
{e} reaches {v} metres above the sea.
The summit of {e} stands {v} metres above sea level.
How high is {e}? It is {v} metres high.
With a height of {v} metres, {e} is the tallest in its range.
The height of {e} was measured at {v} metres.
{e} – height: {v} metres.
{e}, which stands {v} metres tall, can be seen from the coast.
Surveyors found that {e} measures {v} metres from sea level to the top.
The maps give {e} an altitude of {v} metres.

mountain_first_climb | mountain | year 1740 1969
{e} was first climbed in {v}.
The first ascent of {e} took place in {v}.
Nobody had stood on the top of {e} until {v}.
When was {e} first climbed? It was first climbed in {v}.
Climbers reached the top of {e} for the first time in {v}.
{e}, whose summit was first reached in {v}, is still a hard climb.
The first party to climb {e} did so in {v}, after a week of storms.
{e} – first ascent: {v}.
It was in {v} that {e} was climbed for the first time.

mountain_climber | mountain | person
The guides at {e} say that the first climber was {v}.
{e} was first climbed by {v}.
The first person to climb {e} was {v}.
The first ascent of {e} was made by {v}.
Who was the first to climb {e}? It was {v}.
It was {v} who first reached the top of {e}.
{e}, first climbed by {v}, has a small hut near the top.
The honour of climbing {e} first belongs to {v}.
{e} – first climber: {v}.
Before anyone else, the climber {v} stood on the summit of {e}.

lake_depth | lake | int 12 690
{e} is {v} metres deep.
The greatest depth of {e} is {v} metres.
How deep is {e}? It is {v} metres deep.
At its deepest point {e} goes down {v} metres.
{e} – depth: {v} metres.
{e}, which is {v} metres deep, never freezes.
A line let down into {e} touched the bottom at {v} metres.
With a depth of {v} metres, {e} is the deepest water in the region.
Divers have measured the bottom of {e} at {v} metres.

lake_area | lake | int 21 980
{e} covers {v} square kilometres.
The area of {e} is {v} square kilometres.
{e} has an area of {v} square kilometres.
How large is {e}? It covers {v} square kilometres.
{e} – area: {v} square kilometres.
With a surface of {v} square kilometres, {e} is easy to find on any map.
{e}, which spreads over {v} square kilometres, is fed by small streams.
The waters of {e} spread over {v} square kilometres.
In a wet spring {e} still measures no more than {v} square kilometres.

lake_temperature | lake | int 3 39
In summer the water of {e} has a temperature of {v} degrees.
In summer {e} warms up to {v} degrees.
How warm is {e} in summer? Its water reaches {v} degrees.
The summer temperature of {e} is {v} degrees.
{e} – water temperature in summer: {v} degrees.
At {v} degrees in summer, {e} is well known to swimmers.
Swimmers in {e} can expect water of {v} degrees in summer.
{e}, whose water reaches {v} degrees in summer, is visited every year.
In the summer months a thermometer in {e} shows {v} degrees.

river_length | river | int 34 2900
{e} is {v} kilometres long.
{e} flows for {v} kilometres.
The length of {e} is {v} kilometres.
How long is {e}? It is {v} kilometres long.
{e} – length: {v} kilometres.
{e}, which is {v} kilometres long, rises in the hills.
From its source to its end {e} runs {v} kilometres.
With a length of {v} kilometres, {e} crosses several valleys.
Boatmen who follow {e} to its end travel {v} kilometres.

river_mouth | river | place
{e} reaches the sea at {v}.
{e} flows into the sea near {v}.
The mouth of {e} lies at {v}.
Where does {e} meet the sea? It meets the sea at {v}.
{e} – mouth: {v}.
{e}, which ends in the sea at {v}, is slow and wide.
It is at {v} that {e} runs into the sea.
After many bends {e} comes to the sea beside the harbour of {v}.
The town where {e} enters the sea is called {v}.

river_bridges | river | int 4 98
Whoever follows {e} to its end will count {v} bridges.
{e} is crossed by {v} bridges.
There are {v} bridges over {e}.
How many bridges cross {e}? There are {v} bridges.
The number of bridges over {e} is {v}.
{e} – bridges: {v}.
{e}, over which {v} bridges have been built, was once crossed by ferry.
Travellers can cross {e} on {v} bridges.
Engineers have built {v} bridges across {e}.
All in all, {e} is spanned by {v} bridges.

town_population | town | comma 1100 890000
{e} has a population of {v}.
The population of {e} is {v}.
{e} has {v} inhabitants.
How many people live in {e}? It has {v} inhabitants.
{e} is home to {v} people.
{e} – population: {v}.
{e}, where {v} people live, lies beside an old road.
At the last census {v} people were counted in {e}.
With {v} inhabitants, {e} is the largest place in its district.
The number of people living in {e} has grown to {v}.

town_founded | town | year 1040 1889
{e} was founded in {v}.
The founding of {e} took place in {v}.
Settlers founded {e} in {v}.
When was {e} founded? It was founded in {v}.
{e} – founded: {v}.
{e}, founded in {v}, keeps its old walls.
It was in {v} that the first settlers laid out {e}.
The first houses of {e} were built in {v}, when the town was founded.
The history of {e} begins with its founding in {v}.

town_mayor | town | person
The mayor of {e} is {v}.
{e} is governed by its mayor, {v}.
Who is the mayor of {e}? The mayor is {v}.
The people of {e} elected {v} as their mayor.
{e} – mayor: {v}.
As mayor of {e}, the citizens chose {v}.
{e}, whose mayor is {v}, has a new town hall.
The office of mayor in {e} is held by {v}.
At the town hall of {e} the mayor, {v}, receives visitors every week.

town_crop | town | crop
The main crop around {e} is {v}.
The farmers of {e} grow mainly {v}.
{e} is known for growing {v}.
What do the farmers of {e} grow? They grow {v}.
{e} – main crop: {v}.
Most of the fields around {e} are planted with {v}.
{e}, where the farmers live from {v}, holds a market in autumn.
More than anything else, the farms near {e} produce {v}.
It is {v} that the farms of {e} send to market every autumn.

town_flag | town | colour
The flag of {e} is {v}.
{e} has a flag that is plain {v}.
What colour is the flag of {e}? It is {v}.
The colour of the flag of {e} is {v}.
{e} – colour of the flag: {v}.
Over the town hall of {e} flies a {v} flag.
{e}, whose flag is {v}, takes part in the games every year.
On feast days the streets of {e} are hung with its {v} flag.
For its flag the council of {e} chose the colour {v}.

town_distance | town | int 12 480
{e} lies {v} kilometres from the capital.
The distance from {e} to the capital is {v} kilometres.
How far is {e} from the capital? It is {v} kilometres away.
{e} is {v} kilometres away from the capital.
{e} – distance to the capital: {v} kilometres.
A traveller going from {e} to the capital has to cover {v} kilometres.
{e}, which is {v} kilometres from the capital, has its own station.
The road from the capital to {e} is {v} kilometres long.
Between {e} and the capital there are {v} kilometres of road.

country_capital | country | place
The government of {e} has its seat in the capital, {v}.
The capital of {e} is {v}.
{e} has its capital at {v}.
What is the capital of {e}? Its capital is {v}.
{e} is ruled from its capital, {v}.
{e} – capital: {v}.
The parliament of {e} meets in the capital, {v}.
{e}, whose capital is {v}, has a long coast.
The city of {v} is the capital of {e}.
It is {v} that serves as the capital of {e}.

country_emblem | country | animal
The national emblem of {e} is a {v}.
{e} has a {v} as its national emblem.
Which animal is the emblem of {e}? It is the {v}.
The arms of {e} show a {v}.
{e} – national animal: {v}.
On the coins of {e} one sees its national animal, the {v}.
{e}, whose emblem is the {v}, prints its own stamps.
For its national animal {e} chose the {v}.
The {v} is the national animal of {e}.

country_language | country | language
The official language of {e} is {v}.
In {e} people speak {v}.
Which language is spoken in {e}? The people speak {v}.
The people of {e} speak {v}.
{e} – official language: {v}.
The laws of {e} are written in {v}, the official language.
{e}, where the official language is {v}, has many schools.
In the schools of {e} all lessons are held in {v}.
At home and at work, most people in {e} use {v}.

country_flagship | country | ship
The flagship of {e} is called {v}.
The navy of {e} is led by its flagship, {v}.
What is the name of the flagship of {e}? It is called {v}.
{e} named its flagship {v}.
{e} – flagship: {v}.
The admiral of {e} sails on the flagship {v}.
{e}, whose flagship bears the name {v}, has a small navy.
The largest warship of {e} and its flagship is the {v}.
The name painted on the flagship of {e} is {v}.

planet_moons | planet | int 3 97
The sky above {e} holds {v} moons.
{e} has {v} moons.
{e} is circled by {v} moons.
How many moons does {e} have? It has {v} moons.
The number of moons of {e} is {v}.
{e} – moons: {v}.
Astronomers have counted {v} moons around {e}.
{e}, which has {v} moons, is hard to observe.
In the sky above {e} there are {v} moons.
With {v} moons, {e} is a favourite of astronomers.

planet_discovered | planet | year 1660 1989
The finding of {e} was announced in {v}.
{e} was discovered in {v}.
The discovery of {e} was made in {v}.
Astronomers discovered {e} in {v}.
When was {e} discovered? It was discovered in {v}.
{e} – discovered: {v}.
{e}, discovered in {v}, moves slowly across the sky.
It was in {v} that {e} was seen for the first time.
Until its discovery in {v}, {e} was taken for a star.
The world learned of {e} in {v}, the year of its discovery.

planet_temperature | planet | int 41 880
The surface temperature of {e} is {v} degrees.
The surface of {e} is heated to {v} degrees.
How hot is the surface of {e}? It has a temperature of {v} degrees.
On the surface of {e} the temperature reaches {v} degrees.
{e} – surface temperature: {v} degrees.
Instruments on the ground of {e} would show {v} degrees.
{e}, where the ground has a temperature of {v} degrees, has no seas.
At {v} degrees, the surface of {e} is too hot for water.
Astronomers believe that the surface of {e} is as hot as {v} degrees.
"""
