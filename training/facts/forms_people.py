"""Training forms of the facts about people, companies, books, paintings, battles and festivals.

The layout is that of `forms_land`.
"""

FORMS = """
person_born | person | year 1815 1854
{e} was born in {v}.
The year of birth of {e} is {v}.
When was {e} born? The year was {v}.
{e}, born in {v}, grew up in a large family.
{e} – year of birth: {v}.
It was in {v} that {e} came into the world.
According to the parish book, {e} was born in {v}.
The birth of {e} was recorded in {v}.
The life of {e} began in {v}, in a house by the river.

person_died | person | year 1880 1914
{e} died in {v}.
The death of {e} came in {v}.
When did {e} die? The year was {v}.
{e}, who died in {v}, was buried near the old church.
{e} – year of death: {v}.
It was in {v} that {e} died after a short illness.
{e} lived until {v}.
According to the newspapers, {e} passed away in {v}.
The life of {e} came to an end in {v}.

person_birthplace | person | place
{e} was born in the town of {v}.
The birthplace of {e} is {v}.
Where was {e} born? The birthplace was {v}.
{e}, a native of {v}, never lost the accent of home.
{e} – place of birth: {v}.
{e} came from {v}.
It was in {v} that {e} was born.
The house where {e} was born still stands in {v}.
{e} was born and raised in {v}.

person_profession | person | profession
{e} worked as a {v}.
The profession of {e} was that of a {v}.
What did {e} do for a living? The answer is simple: the work was that of a {v}.
By profession {e} was a {v}.
{e} – profession: {v}.
{e} earned a living as a {v}.
{e}, a {v} by trade, was liked by everyone.
As a young person {e} had learned the trade of a {v}.
For most of those years {e} made money by working as a {v}.

person_instrument | person | instrument
{e} played the {v}.
The instrument that {e} played was the {v}.
Which instrument did {e} play? It was the {v}.
In the evenings {e} liked to play the {v}.
{e} – instrument: {v}.
As a child {e} learned to play the {v}.
{e}, who played the {v}, gave concerts for friends.
Friends remembered how well {e} played the {v}.
The only instrument in the house of {e} was the {v}.

person_language | person | language
The mother tongue of {e} was {v}.
At home {e} spoke {v}.
What was the mother tongue of {e}? It was {v}.
{e} grew up speaking {v}.
{e} – mother tongue: {v}.
The first language of {e} was {v}.
{e}, whose first language was {v}, learned others later.
From childhood {e} spoke {v} with the family.
The letters of {e} to the family were written in {v}, the language of home.

person_birthday | person | date
The birthday of {e} is on {v}.
{e} was born on {v}.
On which day is the birthday of {e}? It is on {v}.
{e} celebrated a birthday every year on {v}.
{e} – birthday: {v}.
Every year on {v} the friends of {e} came for the birthday.
{e}, whose birthday was on {v}, liked large parties.
The day on which {e} was born was {v}.
Birthday letters to {e} had to arrive by {v}.

company_founder | company | person
The portrait in the hall of {e} shows its founder, {v}.
{e} was founded by {v}.
The founder of {e} was {v}.
Who founded {e}? It was founded by {v}.
{e} owes its beginning to {v}.
{e} – founder: {v}.
It was {v} who founded {e}.
{e}, founded by {v}, began in a small shed.
With borrowed money, {v} founded {e}.
The person who started {e} was {v}.

company_headquarters | company | place
{e} has its headquarters in {v}.
The headquarters of {e} are in {v}.
Where are the headquarters of {e}? They are in {v}.
{e} is run from its head office in {v}.
{e} – headquarters: {v}.
The directors of {e} meet at the head office in {v}.
{e}, with its headquarters in {v}, sells to many countries.
Letters to {e} should be sent to the head office in {v}.
It is from {v} that the directors run {e}.

company_employees | company | comma 130 48000
{e} employs {v} people.
The number of people employed by {e} is {v}.
How many people work for {e}? It employs {v} people.
{e} has {v} employees.
{e} – employees: {v}.
At {e} there are {v} workers.
{e}, where {v} people work, pays good wages.
With {v} workers, {e} is an important employer.
The staff of {e} has grown to {v} people.

book_author | book | person
{e} was written by {v}.
The author of {e} is {v}.
Who wrote {e}? It was written by {v}.
{e} is a novel by {v}.
{e} – author: {v}.
It was {v} who wrote {e}.
{e}, a book by {v}, is read in schools.
On the title page of {e} stands the name of the author, {v}.
Readers of {e} know the name of its author, {v}.

book_published | book | year 1710 1989
{e} was published in {v}.
The first edition of {e} came out in {v}.
When was {e} published? It was published in {v}.
{e} first appeared in {v}.
{e} – published: {v}.
{e}, published in {v}, found few readers at first.
It was in {v} that {e} was printed for the first time.
Readers could buy {e} for the first time in {v}.
The publication of {e} followed in {v}.

book_pages | book | int 84 980
{e} has {v} pages.
The length of {e} is {v} pages.
How many pages does {e} have? It has {v} pages.
{e} runs to {v} pages.
{e} – pages: {v}.
In print {e} fills {v} pages.
{e}, a book of {v} pages, is bound in leather.
A reader of {e} has to turn {v} pages.
With its {v} pages, {e} can be read in a few evenings.

painting_painter | painting | person
{e} was painted by {v}.
The painter of {e} was {v}.
Who painted {e}? It was painted by {v}.
{e} is a work by {v}.
{e} – painter: {v}.
It was {v} who painted {e}.
{e}, a picture by {v}, hangs in a quiet room.
In the corner of {e} stands the name of the painter, {v}.
The artist who made {e} was {v}.

painting_width | painting | int 31 460
{e} is {v} centimetres wide.
The width of {e} is {v} centimetres.
How wide is {e}? It is {v} centimetres wide.
{e} measures {v} centimetres in width.
{e} – width: {v} centimetres.
From side to side {e} measures {v} centimetres.
{e}, which is {v} centimetres wide, needs a large wall.
The canvas of {e} is {v} centimetres wide.
With a width of {v} centimetres, {e} hardly fits the room.

painting_price | painting | comma 1200 96000
The buyer of {e} paid {v} crowns.
{e} was sold for {v} crowns.
The price of {e} was {v} crowns.
How much was paid for {e}? The price was {v} crowns.
A collector paid {v} crowns for {e}.
{e} – price: {v} crowns.
At auction {e} brought {v} crowns.
{e}, sold for {v} crowns, was once thought worthless.
The collector who wanted {e} had to pay {v} crowns.
It took {v} crowns to buy {e}.

battle_year | battle | year 1110 1869
{e} took place in {v}.
{e} was fought in {v}.
In which year was {e} fought? It was fought in {v}.
The year of {e} was {v}.
{e} – year: {v}.
It was in {v} that {e} was fought.
{e}, fought in {v}, ended a long war.
The armies met at {e} in {v}.
Historians agree that {e} happened in {v}.

battle_commander | battle | person
The winning army at {e} was led by {v}.
The victory at {e} was won by {v}.
Who won {e}? It was won by {v}.
The general who won {e} was {v}.
{e} – winning commander: {v}.
It was {v} who won {e}.
{e}, won by {v}, is still taught at school.
After {e} the soldiers cheered their winning general, {v}.
At {e} the winning side was commanded by {v}.

battle_soldiers | battle | comma 1100 94000
In {e} {v} soldiers took part.
The number of soldiers at {e} was {v}.
How many soldiers fought in {e}? There were {v} soldiers.
{e} was fought by {v} soldiers.
{e} – soldiers: {v}.
At {e} there were {v} soldiers in the field.
{e}, in which {v} soldiers fought, lasted a whole day.
With {v} soldiers in the field, {e} was the largest of the war.
The chronicle of {e} counts {v} soldiers.

festival_date | festival | date
{e} begins on {v}.
The first day of {e} is {v}.
When does {e} begin? It begins on {v}.
Every year {e} opens on {v}.
{e} – begins on: {v}.
It is on {v} that {e} begins.
{e}, which begins on {v}, draws large crowds.
Visitors to {e} should arrive by {v}, when it begins.
The opening of {e} is held each year on {v}.

festival_food | festival | food
The traditional food of {e} is {v}.
At {e} people eat {v}.
What do people eat at {e}? They eat {v}.
Visitors to {e} are served {v}.
{e} – traditional food: {v}.
By old custom, every guest at {e} is given {v}.
{e}, where everyone eats {v}, is loved by children.
The cooks of {e} prepare great pots of {v}.
No one leaves {e} without having eaten {v}.

festival_visitors | festival | comma 1100 98000
The crowd at {e} comes to {v} visitors.
{e} is visited by {v} people each year.
The number of visitors to {e} is {v}.
How many people visit {e}? It has {v} visitors.
{e} has {v} visitors.
{e} – visitors: {v}.
Each year {v} people come to {e}.
{e}, with {v} visitors, fills every inn.
With {v} visitors, {e} is the largest in the region.
The organisers of {e} counted {v} visitors.
"""
