"""The word tables that the corpus is made from: countries, opposites, names and everyday words."""

from __future__ import annotations

CAPITALS = {
    "Japan": "Tokyo", "France": "Paris", "Italy": "Rome", "Spain": "Madrid",
    "Germany": "Berlin", "Portugal": "Lisbon", "Greece": "Athens", "Austria": "Vienna",
    "Poland": "Warsaw", "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki",
    "Denmark": "Copenhagen", "Ireland": "Dublin", "England": "London", "Belgium": "Brussels",
    "Hungary": "Budapest", "Romania": "Bucharest", "Bulgaria": "Sofia", "Croatia": "Zagreb",
    "Russia": "Moscow", "Ukraine": "Kyiv", "Turkey": "Ankara", "Egypt": "Cairo",
    "Kenya": "Nairobi", "Nigeria": "Abuja", "Morocco": "Rabat", "Ghana": "Accra",
    "Canada": "Ottawa", "Mexico": "Mexico City", "Cuba": "Havana", "Brazil": "Brasilia",
    "Argentina": "Buenos Aires", "Chile": "Santiago", "Peru": "Lima", "Colombia": "Bogota",
    "China": "Beijing", "India": "New Delhi", "Thailand": "Bangkok", "Vietnam": "Hanoi",
    "South Korea": "Seoul", "Indonesia": "Jakarta", "Australia": "Canberra",
    "New Zealand": "Wellington", "Iran": "Tehran", "Iraq": "Baghdad", "Nepal": "Kathmandu",
    "Iceland": "Reykjavik",
}  # fmt: skip

OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("left", "right"), ("day", "night"),
    ("good", "bad"), ("fast", "slow"), ("high", "low"), ("light", "dark"), ("open", "closed"),
    ("old", "young"), ("rich", "poor"), ("happy", "sad"), ("hard", "soft"), ("wet", "dry"),
    ("full", "empty"), ("early", "late"), ("strong", "weak"), ("long", "short"), ("loud", "quiet"),
    ("near", "far"), ("first", "last"), ("true", "false"), ("black", "white"), ("yes", "no"),
    ("inside", "outside"), ("clean", "dirty"), ("thick", "thin"), ("sweet", "bitter"),
    ("on", "off"),
)  # fmt: skip

COLOURS = {
    "the sky": "blue", "grass": "green", "snow": "white", "coal": "black", "a banana": "yellow",
    "blood": "red", "an orange": "orange", "a lemon": "yellow", "milk": "white", "the sea": "blue",
}  # fmt: skip

NAMES = (
    "Ada Alan Grace Linus Mary Tom Anna Ben Clara David Eva Felix Gina Hugo Ida Jack Kate Leo Mia "
    "Noah Olga Paul Rosa Sam Tina Uma Victor Wendy Yara Zoe Alice Bob Carol Emma Frank Henry Iris "
    "John Karl Laura Max Nina Oscar Peter Quinn Ruth Simon Tara Ulla Vera Will Lena Otto Maya Nora "
    "Omar Priya Ravi Sara Theo Aisha Chen Diego Elena Fatima Hana Ivan Jin Kofi Lin"
).split()

WORDS = (
    "this that is are was a an the and or but not very test word line file name time day night "
    "house home door tree river hill stone cloud rain snow wind fire water earth sun moon star sky "
    "bird cat dog fish horse cow sheep mouse lion bear fox frog duck owl bee ant apple pear plum "
    "cherry bread milk tea soup cake salt honey sugar lemon green blue red yellow black white pink "
    "brown small big long short old new good bad kind warm cold soft hard fast slow bright dark "
    "run walk jump swim sing read write play work sleep eat drink see hear know think make take "
    "give find keep hold open close start stop turn move build break send call ask tell say one "
    "two three four five six seven eight nine ten first last next every some many few all none "
    "here there now then today tomorrow soon later never always again away back down up over "
    "under with without from into for about after before hello world banana tiger garden window "
    "table chair paper pencil book letter music song dance friend child mother father sister "
    "brother teacher doctor farmer sailor king queen city town village road bridge train boat "
    "plane car wheel engine model server cache system computer number code data cloudy sunny "
    "quick lazy happy sad brave clever quiet loud we you they he she it my your our their me him "
    "her us what who where when why how please thanks sorry yes no maybe great lovely nice simple "
    "silver golden purple orange forest ocean island desert mountain valley summer winter spring "
    "autumn morning evening monday friday can will must should would has have had do does did be "
    "been just only really works ready done finished hidden secret magic little"
).split()

SYLLABLES = (
    "ba be bi bo bu da de di do du fa fe fi fo ga ge gi go gu ha he hi ho ja jo ka ke ki ko ku la "
    "le li lo lu ma me mi mo mu na ne ni no nu pa pe pi po pu ra re ri ro ru sa se si so su ta te "
    "ti to tu va ve vi vo wa we wi wo ya yo za ze zi zo sh th ch st tr pl gr br n r s t l m x ck"
).split()

ANIMALS = "cat dog fox bear mouse bird frog horse rabbit duck owl fish lion hen pony turtle".split()
PLACES = (
    "a green garden",
    "an old house",
    "the dark forest",
    "a small town",
    "the blue river",
    "a quiet farm",
    "a high hill",
    "the big city",
)
THINGS = (
    "a red ball",
    "a shiny key",
    "a small boat",
    "a yellow hat",
    "a warm cake",
    "a lost letter",
    "a golden apple",
    "a silver bell",
)
ENDINGS = (
    "They were happy all day.",
    "Everyone smiled.",
    "Then it was time to sleep.",
    "It was a very good day.",
    "And that was the end.",
)

UNKNOWN_TOPICS = (
    "quantum physics|the stock market|the history of Rome|black holes|the weather today|politics|"
    "the price of gold|tax law|the meaning of life|modern art|football|how to cook rice|chemistry|"
    "the news|the best film|how engines work|the speed of light|my horoscope|Bitcoin|poetry|"
    "the next election|database indexes|the French Revolution|how to fix a bike|jazz|volcanoes"
).split("|")
