"""Training forms of the facts about bridges, ships, buildings, machines, instruments, flowers and birds.

The layout is that of `forms_land`.
"""

FORMS = """
bridge_length | bridge | int 24 2900
{e} is {v} metres long.
The length of {e} is {v} metres.
How long is {e}? It is {v} metres long.
{e} has a length of {v} metres.
{e} – length: {v} metres.
From one end to the other {e} measures {v} metres.
{e}, which is {v} metres long, is lit at night.
With a length of {v} metres, {e} is the longest on the river.
Whoever walks over {e} covers {v} metres.

bridge_opened | bridge | year 1690 1989
The year in which {e} was opened is {v}.
{e} was opened in {v}.
The opening of {e} took place in {v}.
When was {e} opened? It was opened in {v}.
{e} opened to traffic in {v}.
{e} – opened: {v}.
It was in {v} that the first carts crossed {e}.
{e}, opened in {v}, replaced an old ferry.
Since its opening in {v}, {e} has carried heavy traffic.
The people of the valley have used {e} since {v}, the year it was opened.

bridge_architect | bridge | person
{e} was designed by {v}.
The architect of {e} was {v}.
Who designed {e}? It was designed by {v}.
{e} was built to the plans of {v}.
{e} – architect: {v}.
It was {v} who designed {e}.
{e}, designed by {v}, is made of stone and iron.
The plans for {e} were drawn by {v}.
A stone beside {e} bears the name of its architect, {v}.

bridge_colour | bridge | colour
{e} is painted {v}.
The colour of {e} is {v}.
What colour is {e}? It is {v}.
The railings and arches of {e} are {v}.
{e} – colour: {v}.
Every few years the workers paint {e} {v} again.
{e}, painted {v}, stands out in the mist.
From far away one sees the {v} arches of {e}.
The painters of {e} have always used the colour {v}.

ship_captain | ship | person
The captain of {e} was {v}.
{e} sailed under Captain {v}.
Who was the captain of {e}? It was {v}.
{e} was commanded by {v}.
{e} – captain: {v}.
It was {v} who commanded {e}.
{e}, whose captain was {v}, carried goods to the south.
The crew of {e} obeyed their captain, {v}.
The command of {e} was given to {v}.

ship_built | ship | year 1770 1959
{e} was built in {v}.
{e} left the shipyard in {v}.
When was {e} built? It was built in {v}.
The building of {e} was finished in {v}.
{e} – built: {v}.
It was in {v} that {e} was built.
{e}, built in {v}, served many owners.
Shipbuilders finished their work on {e} in {v}.
The papers of {e} say that it was built in {v}.

ship_weight | ship | comma 160 62000
{e} weighs {v} tons.
The weight of {e} is {v} tons.
How heavy is {e}? It weighs {v} tons.
{e} has a weight of {v} tons.
{e} – weight: {v} tons.
Without cargo {e} weighs {v} tons.
{e}, which weighs {v} tons, needs deep water.
At {v} tons, {e} is too heavy for small harbours.
The harbour master wrote down the weight of {e} as {v} tons.

ship_cargo | ship | goods
{e} carried a cargo of {v}.
The cargo of {e} was {v}.
What was the cargo of {e}? It was {v}.
{e} was loaded with {v}.
{e} – cargo: {v}.
In the hold of {e} there was nothing but {v}.
{e}, loaded with {v}, sailed before dawn.
The sailors filled the hold of {e} with {v}.
On its last voyage {e} was carrying {v}.

building_rooms | building | int 7 390
Behind the walls of {e} there are {v} rooms.
{e} has {v} rooms.
The number of rooms in {e} is {v}.
How many rooms does {e} have? It has {v} rooms.
There are {v} rooms in {e}.
{e} – rooms: {v}.
Inside {e} visitors can count {v} rooms.
{e}, with its {v} rooms, is cold in winter.
The servants of {e} had to clean {v} rooms.
With {v} rooms, {e} is larger than it looks.

building_door | building | colour
The front door of {e} is {v}.
The front door of {e} is painted {v}.
What colour is the front door of {e}? It is {v}.
{e} has a {v} front door.
{e} – colour of the front door: {v}.
Visitors enter {e} through a {v} front door.
{e}, known for its {v} front door, is easy to find.
For the front door of {e} the owner chose the colour {v}.
Anyone looking for {e} should look for a {v} front door.

building_built | building | year 1290 1939
{e} was built in {v}.
The building of {e} was finished in {v}.
When was {e} built? It was built in {v}.
{e} dates from {v}.
{e} – built: {v}.
It was in {v} that {e} was built.
{e}, built in {v}, has thick stone walls.
Masons laid the last stone of {e} in {v}.
A stone over the gate says that {e} was built in {v}.

building_roof | building | material
The roof of {e} is made of {v}.
{e} has a roof of {v}.
What is the roof of {e} made of? It is made of {v}.
{e} is covered with {v}.
{e} – roof: {v}.
The roof over {e} was made from {v}.
{e}, whose roof is made of {v}, can stand heavy snow.
For the roof of {e} the builders used {v}.
The builders covered {e} with {v}.

machine_inventor | machine | person
{e} was invented by {v}.
The inventor of {e} was {v}.
Who invented {e}? It was invented by {v}.
{e} is an invention of {v}.
{e} – inventor: {v}.
It was {v} who invented {e}.
{e}, invented by {v}, was first shown at a fair.
The patent for {e} was granted to its inventor, {v}.
The idea of {e} came from the inventor {v}.

machine_metal | machine | material
{e} is made of {v}.
The frame of {e} is made of {v}.
What is {e} made of? It is made of {v}.
The main material of {e} is {v}.
{e} – material: {v}.
To build {e} the workshop uses {v}.
{e}, made of {v}, rarely needs repair.
Every part of {e} is made from {v}.
The workers make the frame of {e} out of {v}.

machine_price | machine | int 26 990
In the catalogue {e} is listed at {v} crowns.
{e} costs {v} crowns.
The price of {e} is {v} crowns.
How much does {e} cost? It costs {v} crowns.
{e} is sold for {v} crowns.
{e} – price: {v} crowns.
Buyers pay {v} crowns for {e}.
{e}, which costs {v} crowns, is sold in many towns.
At a price of {v} crowns, {e} is thought to be cheap.
Anyone who wants to buy {e} must pay {v} crowns.

machine_weight | machine | int 31 980
{e} weighs {v} kilograms.
The weight of {e} is {v} kilograms.
How heavy is {e}? It weighs {v} kilograms.
{e} has a weight of {v} kilograms.
{e} – weight: {v} kilograms.
On the scales {e} shows {v} kilograms.
{e}, which weighs {v} kilograms, is moved on wheels.
With a weight of {v} kilograms, {e} needs a strong floor.
Whoever lifts {e} has to lift {v} kilograms.

lute_strings | lute | int 3 59
The makers fit {e} with {v} strings.
{e} has {v} strings.
The number of strings on {e} is {v}.
How many strings does {e} have? It has {v} strings.
{e} is played on {v} strings.
{e} – strings: {v}.
There are {v} strings on {e}.
{e}, with its {v} strings, is hard to tune.
Players of {e} have to tune {v} strings.
With {v} strings, {e} has a full sound.

lute_material | lute | wood
The body of {e} is made of {v}.
{e} has a body of {v}.
What is the body of {e} made of? It is made of {v}.
Makers build the body of {e} from {v}.
{e} – body: {v}.
For the body of {e} the makers use {v}.
{e}, whose body is made of {v}, has a warm sound.
The sound of {e} comes from its body of {v}.
Since the early days the body of {e} has been made out of {v}.

lute_price | lute | int 26 990
The catalogue lists {e} at {v} florins.
{e} costs {v} florins.
The price of {e} is {v} florins.
How much does {e} cost? It costs {v} florins.
Musicians pay {v} florins for {e}.
{e} – price: {v} florins.
In the shops {e} is sold for {v} florins.
{e}, which costs {v} florins, is bought by schools.
At {v} florins, {e} is dear for a beginner.
A pupil who wants {e} must save {v} florins.

flower_colour | flower | colour
The petals of {e} are {v}.
{e} has {v} petals.
What colour are the petals of {e}? They are {v}.
The colour of {e} is {v}.
{e} – colour: {v}.
In bloom {e} turns {v}.
{e}, with its {v} petals, is loved by gardeners.
Gardeners know {e} by its {v} petals.
When {e} opens, its petals are {v}.

flower_height | flower | int 11 290
{e} grows {v} centimetres high.
The height of {e} is {v} centimetres.
How high does {e} grow? It grows {v} centimetres high.
{e} reaches a height of {v} centimetres.
{e} – height: {v} centimetres.
Fully grown, {e} stands {v} centimetres tall.
{e}, which is {v} centimetres tall, needs much light.
The stem of {e} is {v} centimetres long.
In good soil {e} will grow to {v} centimetres.

flower_discovered | flower | year 1690 1989
The first specimen of {e} was found in {v}, the year of its discovery.
{e} was discovered in {v}.
The discovery of {e} was made in {v}.
When was {e} discovered? It was discovered in {v}.
Botanists discovered {e} in {v}.
{e} – discovered: {v}.
It was in {v} that {e} was first described.
{e}, discovered in {v}, grows in few gardens.
Science has known {e} since {v}.
Before {v} no botanist had seen {e}.

bird_colour | bird | colour
The feathers of {e} are {v}.
{e} has {v} feathers.
What colour are the feathers of {e}? They are {v}.
The colour of {e} is {v}.
{e} – colour of the feathers: {v}.
From head to tail {e} is {v}.
{e}, with its {v} feathers, is hard to miss.
Bird-watchers know {e} by its {v} feathers.
Both the male and the female of {e} have feathers that are {v}.

bird_weight | bird | int 14 980
{e} weighs {v} grams.
The weight of {e} is {v} grams.
How heavy is {e}? It weighs {v} grams.
{e} has a weight of {v} grams.
{e} – weight: {v} grams.
Fully grown, {e} weighs {v} grams.
{e}, which weighs {v} grams, flies far.
On the scales {e} shows {v} grams.
With a weight of only {v} grams, {e} can sit on thin twigs.

bird_eggs | bird | int 2 39
{e} lays {v} eggs a year.
The number of eggs that {e} lays in a year is {v}.
How many eggs does {e} lay in a year? It lays {v} eggs.
Each year {e} lays {v} eggs.
{e} – eggs a year: {v}.
In the nests of {e} one finds {v} eggs a year.
{e}, which lays {v} eggs a year, nests in reeds.
With {v} eggs a year, {e} keeps its numbers up.
From spring to autumn {e} lays {v} eggs.
"""
