"""Synthetic dialogues for `igris-recall`: facts are told, changed and asked for.

Every reply is a function of what the user said before, so that a whole answer is either right or wrong.
No value for which `held_out` is true is ever told in training; `evaluate.py` uses only such values.
"""
from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, replace

Message = tuple[str, str]  # (role, text)

# ---------------------------------------------------------------------------------------------------------------------
# Fixed replies

GREETING = "Hello! What should I remember for you?"
WELCOME = "You are welcome!"
GOODBYE = "Goodbye!"
WHO = "I am the small built-in model of Igris Runtime. I remember what you tell me and repeat it when you ask"
FALLBACK = "I am a very small model, so I cannot answer that. I can remember facts for you: tell me one, then ask me for it"
NOTHING = "You have not told me anything yet"

# ---------------------------------------------------------------------------------------------------------------------
# Values

NAMES = """Alice Bob Carol Dave Erin Frank Grace Heidi Ivan Judy Karl Lena Mallory Nina Oscar Peggy Quinn Rupert Sybil Trent
Ursula Victor Wendy Xavier Yvonne Zoe Anna Ben Clara David Emma Felix Greta Henry Iris Jack Kate Liam Mia Noah Olivia Paul
Rosa Sam Tina Uma Vera Will Yusuf Zara Ahmed Aisha Amir Ana Andrei Bilal Bruno Carlos Chen Chloe Dmitri Elena Fatima Giulia
Hana Hiro Ines Jamal Jun Kenji Kim Lars Leila Luca Maria Mehmet Mohammed Nadia Nikolai Omar Pablo Priya Rafael Ravi Sofia
Sven Tariq Wei Yuki Zoltan José Zoë Renée Björn Łukasz Søren Chloé André Jörg Günter Käthe Małgorzata Paweł Michał Żaneta
François Hélène Éric Noël Maïté 太郎 花子 健一 由美 さくら ひろし タロウ マリア Иван Ольга Νίκος 小明 민수 محمد""".split()
SURNAMES = """Smith Jones Brown Miller Moss Novak Garcia Lopez Khan Patel Schmidt Weber Rossi Silva Tanaka Suzuki Wang Li Kim
Park Ivanov Petrov Nielsen Berg Dubois Martin O'Neill Kowalski Müller Lefèvre Wójcik 佐藤 鈴木 高橋""".split()
COLOURS = """red green blue teal purple orange yellow black white pink brown grey crimson indigo turquoise magenta olive navy
gold silver violet maroon beige""".split()
CITIES = """Paris London Berlin Madrid Rome Vienna Oslo Tokyo Kyoto Lima Cairo Delhi Mumbai Boston Chicago Toronto Lagos Nairobi
Sydney Melbourne Seoul Prague Warsaw Dublin Zurich Zürich Lisbon Porto Athens Istanbul Montreal München Köln Łódź 東京
大阪 Москва""".split() + ["New York", "San Francisco", "Cape Town", "São Paulo", "Mexico City", "Hong Kong", "Los Angeles"]
FOODS = """pizza sushi pasta ramen tacos curry soup salad bread cheese chocolate pancakes dumplings falafel hummus risotto
lasagna burritos noodles rice apples mangoes""".split()
JOBS = """teacher nurse doctor baker plumber engineer pilot farmer lawyer chef painter welder librarian carpenter designer
writer programmer scientist""".split()
WORDS = """apple river stone window garden silver candle pepper rocket marble ladder velvet copper anchor basket bridge camera
desert engine forest guitar hammer island jacket kettle lantern mirror needle orchid pencil quartz ribbon saddle temple
umbrella violin walnut yellow zipper cloud thunder meadow harbor planet comet signal beacon cactus dragon ember falcon glacier
horizon ivory jungle koala lemon mango nectar opal piano quiver raven sunset tulip urban valley willow zephyr autumn breeze
crystal dawn echo flame grove hazel jasper kite lotus maple north ocean pearl quest rain spring tide music history physics
football winter summer coffee money life love time weather""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

# Names and words kept for evaluation only; names in the languages of the requirement.
HELD_OUT_NAMES = {
    "de": """Jürgen Wölfgang Käthchen Götz Ännchen Mäxchen Rüdiger Süßmilch Jößt Grüber Hölderlin Müßig Schröder Bärbel Jäger Öztürk
Größler Krüger""".split(),
    "fr": """Théophile Anaïs Gaëlle Françoise Jérôme Élodie Maëlys Céleste Benoît Léocadie Aurélie Hippolyte Océane Beauchêne Lefrançois
Desprès Bézier Guérin""".split(),
    "pl": """Wacław Świętosława Zbigniew Bożena Grażyna Mściwój Jędrzej Władysława Czesław Żywia Przemysław Łucja Ździsław Brzęczyszczykiewicz
Wiśniewski Dąbrowska Zieliński Woźniak""".split(),
    "ja": "美咲 陽翔 さゆり たけし ユウキ 中村 翔太 結衣 カナコ 渡辺 はるか 龍之介 千尋 ショウヘイ 伊藤 小野寺 まゆみ クミコ".split(),
    "en": """Thaddeus Ottoline Bartholomew Xochitl Siobhan Giancarlo Wilhelmina Ngozi Tadhg Anneliese Kwame Saoirse Evangeline
Mordecai Calliope Radoslav Yevgenia Cuauhtemoc Isambard Peregrine""".split(),
}
HELD_OUT_WORDS = {
    "colour": "chartreuse cerulean vermilion ochre fuchsia aquamarine khaki cyan burgundy lavender mauve sepia".split(),
    "city": "Reykjavik Ljubljana Antananarivo Vladivostok Marrakesh Helsinki Bogotá Guadalajara Düsseldorf Kraków Orléans 札幌 Sapporo Winnipeg".split(),
    "food": "goulash paella ceviche baklava pierogi tiramisu couscous gnocchi porridge kimchi haggis moussaka".split(),
    "job": "locksmith beekeeper cartographer glazier notary upholsterer midwife astronomer tailor firefighter surgeon".split(),
    "word": """butterfly telescope cinnamon lighthouse avalanche tortoise labyrinth pineapple thimble chimney gondola harvest
mosaic parchment saffron trumpet windmill whisper almanac bicycle cathedral domino elbow feather""".split(),
}
_HELD_OUT = {word for words in [*HELD_OUT_NAMES.values(), *HELD_OUT_WORDS.values()] for word in words}
_ALWAYS_TRAINED = {"Alice", "Bob", "teal", "Zürich"}  # the demonstration itself


def held_out(value: str) -> bool:
    """True for the values that are kept for evaluation: the listed names and one in 16 of all other values."""
    if value in _ALWAYS_TRAINED:
        return False
    return value in _HELD_OUT or zlib.crc32(value.lower().encode()) % 16 == 0


CONSONANTS, VOWELS = "bcdfghjklmnprstvwxyz", "aeiou"
CLUSTERS = "br ch cl dr fl gr kh ph pl sh sk st th tr wh qu ll nn ss tt".split()
# Alphabets of the multi-byte names: (letters, lengths). Single letters with accents are mixed into Latin syllables.
CHUNKS = """sch ü ß ö ä tz ck ier ei hölz größ müll eau é è ç ï œ ou ien aï në rz sz cz szcz ę ą ł ś ź ż ó dz wicz ski ń ć ław mir brz krz
świ żyw jędr zdz ch wł st gr an el ro ma li""".split()
ACCENTED = "äöüßéèêëàâçîïôûùœąćęłńóśźżåøæñãõíúáěščřžýğışőűđ"
SCRIPTS: list[tuple[str, tuple[int, int]]] = [
    ("".join(map(chr, range(0x3042, 0x3094))), (2, 6)),  # hiragana
    ("".join(map(chr, range(0x30A2, 0x30F4))) + "ー", (2, 7)),  # katakana
    ("".join(map(chr, range(0x4E00, 0x9FA0))), (1, 4)),  # kanji
    ("田中山川村本木林井上下大小高松竹梅野原石川島崎美子太郎一二三健真由香恵奈智陽翔結愛蓮", (2, 4)),
    ("абвгдежзийклмнопрстуфхцчшщыьэюя", (3, 8)),
    ("αβγδεζηθικλμνξοπρστυφχψω", (3, 8)),
    ("".join(map(chr, range(0xAC00, 0xD7A4))), (2, 4)),  # hangul
    ("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", (3, 6)),
    ("".join(map(chr, range(0x5D0, 0x5EB))), (3, 6)),
    ("".join(map(chr, range(0x905, 0x939))), (2, 5)),
    ("😀🎉🚀🐱🌍🍕🔥🌈🦊🎸", (1, 3)),
]


class Values:
    """Draws values. `held` chooses the side of the split: False for training, True for evaluation."""

    def __init__(self, rng: random.Random, held: bool = False):
        self.rng, self.held = rng, held

    def split(self, draw) -> str:
        """The first value of `draw()` that is on our side of the split."""
        while True:
            value = draw()
            if held_out(value) == self.held:
                return value

    def pick(self, words: list[str]) -> str:
        return self.rng.choice(words)

    # The raw generators; evaluation replaces these four by others.
    def syllable(self) -> str:
        r = self.rng
        start = "" if r.random() < .1 else r.choice(CLUSTERS) if r.random() < .25 else r.choice(CONSONANTS)
        return start + r.choice(VOWELS) + (r.choice(CONSONANTS) if r.random() < .35 else "")

    def fake(self, low: int = 1, high: int = 4) -> str:
        """An invented word; sometimes with few different letters, which are harder to copy."""
        r = self.rng
        x = r.random()
        if x < .06:
            letters = r.sample("abcdefghijklmnopqrstuvwxyz", r.randint(2, 4))
            return "".join(r.choice(letters) for _ in range(r.randint(3, 9)))
        if x < .16:
            return "".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(2, 9)))
        return "".join(self.syllable() for _ in range(r.randint(low, high)))

    def chunks(self) -> str:
        """A long name of pieces that come back, as in Przemyszczyszcz: the hardest to copy."""
        r = self.rng
        few = [r.choice(CHUNKS) for _ in range(r.randint(2, 4))]
        return "".join(r.choice(few) + (r.choice(VOWELS) if r.random() < .5 else "") for _ in range(r.randint(2, 5))).capitalize()

    def foreign(self) -> str:
        """A name with letters outside ASCII."""
        r = self.rng
        if r.random() < .3:
            return self.chunks()
        if r.random() < .55:
            letters = list(self.fake(2, 4))
            for _ in range(r.randint(1, 3)):
                letters[r.randrange(len(letters))] = r.choice(ACCENTED)
            return "".join(letters).capitalize()
        letters, (low, high) = r.choice(SCRIPTS[:4] if r.random() < .5 else SCRIPTS)
        return "".join(r.choice(letters) for _ in range(r.randint(low, high)))

    def known_name(self) -> str:
        return self.rng.choice(NAMES)

    def name(self) -> str:
        def draw() -> str:
            r = self.rng
            x = r.random()
            name = self.known_name() if x < .18 else self.foreign() if x < .48 else self.fake().capitalize()
            if r.random() < .3:
                other = self.foreign() if r.random() < (.25 if name.isascii() else .6) else r.choice(SURNAMES) if r.random() < .4 else self.fake(1, 3).capitalize()
                name += ("" if ord(name[0]) > 0x3000 and r.random() < .7 else " ") + other
            if r.random() < .03:
                name += "-" + self.fake(1, 2).capitalize()
            return name.lower() if r.random() < .05 else name
        return self.split(draw)

    def number(self) -> str:
        def draw() -> str:
            r = self.rng
            x = r.random()
            if x < .45:
                return str(r.randint(0, 10 ** r.randint(1, 6)))
            if x < .55:
                return f"{r.randint(0, 99)}.{r.randint(0, 99)}"
            if x < .65:
                return f"{r.randint(10, 999)}-{r.randint(1000, 99999)}"
            if x < .72:
                return f"{r.randint(0, 23):02}:{r.randint(0, 59):02}"
            if x < .78:
                return f"+{r.randint(1, 99)} {r.randint(10, 999)} {r.randint(1000, 9999999)}"
            return "".join(r.choice("0123456789") for _ in range(r.randint(3, 9)))
        return self.split(draw)

    def code(self) -> str:
        alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789abcdefghijkmnpqrstuvwxyz-_"
        return self.split(lambda: "".join(self.rng.choice(alphabet) for _ in range(self.rng.randint(3, 10))).strip("-_") or "X1")

    def word(self) -> str:
        def draw() -> str:
            r = self.rng
            x = r.random()
            if x < .35:
                return r.choice(WORDS)
            if x < .8:
                return self.fake()
            return " ".join(r.choice(WORDS) if r.random() < .5 else self.fake(1, 3) for _ in range(r.randint(2, 4)))
        return self.split(draw)

    def title(self) -> str:
        return self.split(lambda: self.rng.choice(["The ", "", ""]) + self.word().title())

    def one_of(self, words: list[str], known: float = .5) -> str:
        return self.split(lambda: self.pick(words) if self.rng.random() < known else self.fake())

    def date(self) -> str:
        r = self.rng
        return self.split(lambda: r.choice([f"{r.choice(MONTHS)} {r.randint(1, 31)}", f"{r.randint(1, 31)} {r.choice(MONTHS)}",
                                            f"{r.choice(MONTHS)} {r.randint(1, 31)}, {r.randint(1930, 2040)}",
                                            f"{r.randint(1990, 2040)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"]))

    def place(self) -> str:
        return self.split(lambda: self.pick(CITIES) if self.rng.random() < .4
                          else self.foreign() if self.rng.random() < .2 else self.fake(2, 4).capitalize())

    def age(self) -> str:
        return self.split(lambda: str(self.rng.randint(1, 110)))

    def any(self) -> str:
        r = self.rng
        x = r.random()
        if x < .28:
            return self.word()
        if x < .52:
            return self.name()
        if x < .72:
            return self.number()
        if x < .85:
            return self.code()
        if x < .90:
            return self.split(lambda: self.fake(1, 3) + "@" + self.fake(1, 2) + r.choice([".com", ".org", ".net", ".io"]))
        if x < .95:
            return self.date()
        return self.split(lambda: f"{r.randint(1, 200)} {self.fake(1, 3).capitalize()} {r.choice(['Street', 'Road', 'Lane', 'Avenue'])}")

    def event(self) -> str:
        """A time or place with its preposition."""
        r = self.rng
        return self.split(lambda: r.choice([
            "at " + self.number(), f"at {r.randint(1, 12)}{r.choice(['', ' '])}{r.choice(['am', 'pm'])}", "on " + r.choice(DAYS),
            "on " + self.date(), f"on {r.choice(DAYS)} at {r.randint(1, 12)}", "in " + self.place(), "in room " + self.code(), "in " + self.word(),
            "tomorrow", "under the " + self.word()]))


# ---------------------------------------------------------------------------------------------------------------------
# Facts

PEOPLE = """dentist doctor lawyer boss manager landlord neighbour teacher coach sister brother mother father wife husband partner
daughter son cousin uncle aunt roommate""".split() + ["best friend"]
MY_KEYS = """email|email address|phone number|office|address|street|username|password|pin|locker number|employee id|badge number|
license plate|shoe size|team|project|company|school|nickname|middle name|last name|blood type|bank|hobby|instrument|car|bike|
laptop|printer|router|editor|country|home town|hotel|flight number|seat|room number|order number|account number|code|surname|
first name|company name|wifi password|phone|dream|goal|idea|key|secret|token|id""".replace("\n", "").split("|")
THE_KEYS = """door code|wifi password|meeting room|deadline|server name|gate code|alarm code|project name|code word|safe word|
team lead|invoice number|release date|printer name|backup host|api key|ticket number|meeting time|bus number|train number|
parking spot|table number|port|hostname|ip address|version|budget|client name|ship name|garden gate code|garage code|shop name|
recipe name|answer|secret|magic number|plan|topic|password|code|room number|key|number|word""".replace("\n", "").split("|")
FAVOURITES = """colour food animal city number song book drink season sport movie band fruit flower game word country tree day
month dish person place film colour colour food""".split()
PETS = "dog cat horse rabbit parrot hamster goldfish pony".split()
EVENTS = """meeting party exam wedding concert lunch dinner train flight game match call interview delivery treasure""".split() + [
    "spare key", "team meeting"]
LIKES = "like love".split()
UNKNOWN = {"live": "You live in a place unknown to me", "from": "You are from a place unknown to me",
           "age": "You are of an age unknown to me", "like": "You like something unknown to me"}


@dataclass(frozen=True)
class Fact:
    """`kind` is who it is about: my, the, other ("Bob's ..."), event, or a sentence of its own: live, from, age, job, like."""
    kind: str
    key: str
    value: str

    @property
    def id(self) -> str:
        """Two facts with one id are the same fact with another value."""
        return self.kind + " " + self.key.replace("favorite", "favourite").replace("color", "colour")

    @property
    def sentence(self) -> str:
        return {
            "my": f"your {self.key} is {self.value}", "the": f"the {self.key} is {self.value}",
            "other": f"{self.key} is {self.value}", "event": f"the {self.key} is {self.value}",
            "live": f"you live in {self.value}", "from": f"you are from {self.value}",
            "age": f"you are {self.value} years old", "job": f"your job is {self.value}", "like": f"you like {self.value}",
        }[self.kind]

    @property
    def topic(self) -> str:
        return {"my": f"your {self.key}", "the": f"the {self.key}", "event": f"the {self.key}", "other": self.key,
                "job": "your job"}[self.kind]

    @property
    def answer(self) -> str:
        return self.sentence[0].upper() + self.sentence[1:]

    @property
    def unknown(self) -> str:
        """Decides where the value would stand, next to the key: there the network finds it, or not."""
        if self.kind in UNKNOWN:
            return UNKNOWN[self.kind]
        return f"{self.topic[0].upper() + self.topic[1:] if self.kind != 'other' else self.topic} is unknown to me"


def random_key(values: Values) -> str:
    r = values.rng
    x = r.random()
    if x < .4:
        return r.choice(WORDS) + " " + r.choice("name number code colour word key place day".split())
    if x < .7:
        return values.fake(1, 3)
    return values.fake(1, 3) + " " + r.choice("name number code key".split())


def new_value(values: Values, kind: str, key: str) -> str:
    """A value, which suits the key only more often than not: the key must lead to it, not its looks."""
    r = values.rng
    if kind == "event":
        return values.event()
    if kind in ("live", "from"):
        return values.place()
    if kind == "age":
        return values.age()
    if kind == "job":
        return values.one_of(JOBS, .6)
    if kind == "like":
        return values.one_of(FOODS) if r.random() < .5 else values.word()
    if key == "name":
        return values.name()
    noun = key.split()[-1]
    if r.random() < .45:
        return values.any()
    if noun in ("colour", "color"):
        return values.one_of(COLOURS, .6)
    if noun in ("food", "dish", "fruit"):
        return values.one_of(FOODS)
    if noun in ("city", "country", "place"):
        return values.place()
    if noun in ("name", "called") or key in PEOPLE:
        return values.name()
    if noun in ("song", "book", "movie", "film", "band", "game"):
        return values.title()
    if noun in ("birthday", "anniversary", "date", "deadline"):
        return values.date()
    if noun in ("number", "pin", "port", "phone", "size"):
        return values.number()
    if noun in ("code", "password", "key", "token", "id"):
        return values.code()
    return values.any()


def new_fact(values: Values) -> Fact:
    r = values.rng
    x = r.random()
    if x < .19:
        kind, key = "my", "name"
    elif x < .34:
        kind, key = "my", ("favourite " if r.random() < .75 else "favorite ") + r.choice(FAVOURITES)
        if key.startswith("favorite"):
            key = key.replace("colour", "color")
    elif x < .42:
        kind, key = "live", ""
    elif x < .48:
        kind, key = "age", ""
    elif x < .53:
        kind, key = "job", ""
    elif x < .55:
        kind, key = "from", ""
    elif x < .58:
        kind, key = "like", ""
    elif x < .62:
        kind, key = "my", r.choice(PETS) + "'s name"
    elif x < .66:
        kind, key = "my", r.choice(PEOPLE) + ("" if r.random() < .6 else "'s name")
    elif x < .68:
        kind, key = "my", r.choice(["birthday", "anniversary", "birthday"])
    elif x < .78:
        kind, key = "my", r.choice(MY_KEYS) if r.random() < .65 else random_key(values)
    elif x < .80:
        kind, key = "event", r.choice(EVENTS) if r.random() < .7 else values.fake(1, 3)
    elif x < .84:
        owner = values.name()
        key = r.choice("birthday phone number|email|job|dog|age|favourite colour|room|car|address".replace(" phone", "|phone").split("|"))
        kind, key = "other", f"{owner}'s {key if r.random() < .8 else random_key(values)}"
    else:
        kind, key = "the", r.choice(THE_KEYS) if r.random() < .65 else random_key(values)
    return Fact(kind, key, new_value(values, kind, key))


REMEMBER = ["Remember: "] * 8 + ["Remember that ", "Remember that ", "Please remember: ", "Please remember that ", "Remember this: ",
            "remember: ", "remember that ", "Note: ", "Please note that ", "Keep in mind: ", "Keep in mind that ", "Remember ",
            "Don't forget: ", "Don't forget that ", "I want you to remember that ", "You should know that ", "FYI: "]
CHATTY = ["Hi, ", "Hello, ", "Hi! ", "Hello! ", "By the way, ", "Also, ", "And ", "So, ", "Well, "]
CHANGED = ["Actually, ", "Actually, ", "Actually ", "No, ", "Sorry, ", "Correction: ", "Update: ", "I was wrong, ", "I made a mistake: ",
           "Wait, ", "It changed: ", "Remember: ", "Remember that ", ""]


def clause(r: random.Random, fact: Fact, changed: bool = False) -> str:
    """The fact in the user's words, without lead-in and full stop."""
    k, v, now = fact.key, fact.value, "now " if changed and r.random() < .45 else ""
    if fact.kind == "my" and k == "name":
        return r.choice(["my name is %s%s"] * 5 + ["I am %s%s", "I'm %s%s", "my name's %s%s"]) % (now, v) if r.random() < .93 else f"call me {v}"
    if fact.kind == "my" and k.endswith("'s name") and r.random() < .4:
        return f"my {k.removesuffix(chr(39) + 's name')} is {now}called {v}"
    if fact.kind == "my":
        return f"my {k} is {now}{v}"
    if fact.kind in ("the", "event"):
        return f"the {k} is {now}{v}"
    if fact.kind == "other":
        return f"{k} is {now}{v}"
    if fact.kind == "live":
        return r.choice([f"I {now}live in {v}"] * 4 + [f"I moved to {v}", f"my home is in {v}"])
    if fact.kind == "from":
        return r.choice([f"I am from {v}", f"I come from {v}", f"I'm from {v}"])
    if fact.kind == "age":
        return r.choice([f"I am {now}{v} years old", f"my age is {now}{v}", f"I'm {now}{v} years old", f"I am {now}{v}"])
    if fact.kind == "job":
        article = "an" if v[0] in "aeiou" else "a"
        return r.choice([f"I {now}work as {article} {v}"] * 3 + [f"my job is {now}{v}", f"I am {now}{article} {v}"])
    return f"I {r.choice(LIKES)} {v}"


def statement(r: random.Random, facts: list[Fact], changed: bool = False) -> str:
    body = clause(r, facts[0], changed)
    for fact in facts[1:]:
        body += r.choice([" and ", " and ", ", and ", ". "]) + clause(r, fact)
    x = r.random()
    if changed and x < .75:
        text = r.choice(CHANGED) + body
        text = text if text == body and facts[0].kind == "other" else text[0].upper() + text[1:]
    elif x < .6:
        text = r.choice(REMEMBER) + body
    elif x < .72:
        text = r.choice(CHATTY) + body
    else:
        text = body if facts[0].kind == "other" else body[0].upper() + body[1:]
    if r.random() < .12 and not (facts[0].kind == "other" and text.startswith(body)):
        text = text[0].lower() + text[1:]
    if r.random() < .33:
        text += r.choice([".", ".", ".", "!"])
    return text


NAME_QUESTIONS = ["What is my name?"] * 6 + ["What's my name?", "what is my name", "Do you remember my name?", "Tell me my name.", "Who am I?",
                  "Do you know my name?", "whats my name?", "Can you tell me my name?", "My name?", "Say my name.", "WHAT IS MY NAME?",
                  "What am I called?", "Do you still know my name?", "So what is my name?", "And what is my name?", "what's my name again?",
                  "Could you tell me what my name is?", "Please tell me my name"]
KEY_QUESTIONS = ["What is %s?"] * 8 + ["What's %s?", "what is %s", "Do you remember %s?", "Tell me %s.", "Do you know %s?", "Who is %s?", "whats %s?",
                 "Can you tell me %s?", "what's %s again?", "And what is %s?", "So what is %s?", "Please tell me %s", "Could you tell me %s?",
                 "What was %s?", "Do you know what %s is?"]
QUESTIONS = {
    "live": ["Where do I live?"] * 3 + ["Which city do I live in?", "where do i live", "Do you know where I live?", "Tell me where I live.",
                                        "Where is my home?", "WHERE DO I LIVE?", "And where do I live?", "In which city do I live?"],
    "from": ["Where am I from?", "Where do I come from?", "where am i from", "Do you know where I am from?"],
    "age": ["How old am I?", "How old am I?", "What is my age?", "Do you know my age?", "how old am i", "Tell me my age.", "Do you know how old I am?"],
    "job": ["What is my job?", "What is my job?", "What do I do for work?", "What do I work as?", "what's my job?", "Do you know my job?", "What do I do for a living?"],
    "like": ["What do I like?", "What do I love?", "Do you know what I like?", "what do i like", "Tell me what I like."],
}


def question(r: random.Random, fact: Fact, respell: float = .03) -> str:
    k = fact.key
    if fact.kind == "my" and k == "name":
        text = r.choice(NAME_QUESTIONS)
    elif fact.kind in QUESTIONS:
        text = r.choice(QUESTIONS[fact.kind])
    elif fact.kind == "event":
        text = r.choice(["When is the %s?", "Where is the %s?", "What time is the %s?", "When is the %s", "Do you know when the %s is?", "where is the %s?"]) % k
    else:
        if r.random() < respell:  # the other spelling; the answer keeps the one that was told
            k = k.replace("favourite", "favorite").replace("colour", "color") if "favourite" in k else k.replace("favorite", "favourite").replace("color", "colour")
        if k.endswith("'s name") and r.random() < .35:
            text = r.choice(["What is my %s called?", "What's my %s called?", "what is the name of my %s?"]) % k.removesuffix("'s name")
        elif k in ("birthday", "anniversary", "deadline") and r.random() < .5:
            text = r.choice(["When is %s?", "when is %s"]) % ("my " + k if fact.kind == "my" else "the " + k)
        else:
            text = r.choice(KEY_QUESTIONS) % (k if fact.kind == "other" else f"{fact.kind} {k}")
    if r.random() < .1 and not text.isupper() and fact.kind != "other":
        text = text[0].lower() + text[1:]
    return text.rstrip("?.") if r.random() < .1 else text


def near_miss(values: Values, known: list[Fact]) -> Fact:
    """A fact that was not told but resembles one that was."""
    r = values.rng
    fact = r.choice(known)
    words = fact.key.split()
    if fact.kind not in ("my", "the") or not words or r.random() < .3:
        return new_fact(values)
    if fact.key.startswith(("favourite", "favorite")):
        return replace(fact, key=words[0] + " " + r.choice(FAVOURITES))
    if fact.key.endswith("'s name"):
        return replace(fact, key=r.choice(PETS + PEOPLE) + "'s name")
    if len(words) > 1:
        words[r.choice([0, -1])] = r.choice("name number code key word day place".split()) if r.random() < .4 else r.choice(WORDS) if r.random() < .5 else values.fake(1, 3)
        return replace(fact, key=" ".join(words))
    return replace(fact, key=r.choice(MY_KEYS if fact.kind == "my" else THE_KEYS))


# ---------------------------------------------------------------------------------------------------------------------
# Everything else a user says

GREETS = ["Hello", "Hi", "Hello!", "Hi!", "Hey", "Good morning", "Good evening", "hello", "hi there", "Hello there!", "hi", "Hey there", "Good afternoon!",
          "Hello, how are you?", "How are you?", "how are you", "Hi, how are you?", "What's up?", "Greetings"]
THANKS = ["Thanks", "Thank you", "Thanks!", "Thank you!", "Great, thanks", "ok", "OK", "Okay", "Good", "Great", "Nice", "Perfect, thank you.", "thanks",
          "thank you very much", "Cool", "Great!", "Well done", "Correct", "That is right", "Very good", "Thanks a lot!", "Awesome", "Good job!", "yes", "Yes"]
BYES = ["Bye", "Goodbye", "bye", "Good night", "See you", "See you later!", "Bye!", "Goodbye!"]
WHOS = ["Who are you?"] * 4 + ["What are you?", "What is your name?", "What's your name?", "What can you do?", "Help", "help", "How do you work?",
        "Are you an AI?", "Tell me about yourself.", "who are you", "what can you do", "what is your name", "Who made you?", "Are you a robot?",
        "What model are you?", "Which model are you?", "Are you human?", "Are you ChatGPT?", "Introduce yourself.", "Who is this?", "Do you have a name?",
        "what are you?", "Tell me who you are.", "What do you do?", "How can you help me?", "Are you real?", "Who am I talking to?", "Tell me your name."]
LISTS = ["What do you know about me?", "What do you remember?", "What have I told you?", "List what you know.", "What did I tell you?",
         "what do you know about me", "Tell me everything you know about me.", "List all facts."]
OPEN = """Write a poem about {w}.|Write me a poem|Write a haiku about {w}|Explain {w} to me.|Explain {w}|What is {w}?|What are {w}?|Why is {w} so {w}?|Why is the sky blue?|
How do I cook {w}?|Translate {w} into French.|Translate '{w}' to German|Who invented {w}?|What is the capital of {n}?|What's the capital of {n}?|Tell me a joke.|Tell me a joke|Tell me a story about {w}.|
Tell me a story|What is {d} plus {d}?|What is {d}+{d}?|What is {d} * {d}?|{d} + {d}|What's {d} times {d}?|Calculate {d} - {d}|Solve {d}x = {d}|How far is {n} from {n}?|Can you help me with {w}?|What do you think about {w}?|
Summarise {w}.|Summarize this text: {w} {w} {w} {w}|When was {n} born?|Who was {n}?|Who is {n}?|Who is {n}|Write code that sorts {w}.|What time is it?|What day is it today?|What is the weather in {n}?|How is the weather in {n}?|What is the weather like?|
Give me a recipe for {w}.|Is {w} better than {w}?|How many {w} are there?|How many people live in {n}?|Do you like {w}?|Sing a song about {w}.|Sing me a song|Describe {w}.|Describe {n} in three words|Define {w}|
What is the meaning of {w}?|What is the meaning of life?|What does {w} mean?|How does {w} work?|How do I make {w}?|How can I learn {w}?|How tall is {n}?|How long is {w}?|How old is {n}?|How many legs does a {w} have?|
Where is {n}?|Where can I find {w}?|Where can I buy {w}?|When did {w} start?|When does {w} open?|Why do {w} {w}?|Why does {w} {w}?|Why is {n} famous?|Which is bigger, {w} or {w}?|Which {w} is the best?|
Write a letter to {n}.|Write an email to {n} about {w}|Write a function that returns {w}|Write a Python program for {w}|Write a Swift function|Fix this code: {w}({d})|Give me {d} ideas for {w}|Give me a list of {w}|
Generate a {w}|Create a plan for {w}|Make a list of {w}|Draw a {w}|Draw me a picture of {w}|Compare {w} and {w}.|Compare {n} with {n}|Recommend a book about {w}|Recommend me a movie|Suggest a name for a {w}.|
Can you write {w}?|Can you explain {w}?|Can you speak {w}?|Can you sing?|Can you count to {d}?|Could you draw {w}?|Count to {d}|Name three {w}|Name a famous {w}|Play {w}|Play a game with me|Turn on the {w}|Open the {w}|
Search for {w}|Find {w} for me|Book a flight to {n}|Order a {w}|Call {n}|Send a message to {n}|Set a timer for {d} minutes|Convert {d} miles to km|Is {n} a good {w}?|Is it raining?|Is {d} a prime number?|Are {w} {w}?|Are there {w} in {n}?|
Does {w} {w}?|Do {w} have {w}?|Did {n} win?|Should I buy {w}?|Should I learn {w}?|Will it rain tomorrow?|Would you like {w}?|Have you seen {w}?|Who won the {w}?|Who wrote {w}?|Who discovered {n}?|
Who is the president of {n}?|What is the population of {n}?|What is the square root of {d}?|What is the best {w}?|What is the largest {w}?|What happened in {d}?|What should I eat?|What should I do about {w}?|What are the rules of {w}?|
What colour is a {w}?|What is love?|Teach me {w}|Teach me about {w}|I need help with {w}.|Talk about {w}|Let's talk about {w}|Tell me about {w}.|Tell me about {n}|Tell me something about {w}|Tell me something interesting|Spell {w} backwards|
Rewrite this: {w} {w} {w}|Rhyme with {w}|Guess a number|Pick a number|Give me advice on {w}|Discuss {w}|List {d} {w}|Complete this sentence: the {w} is|I am bored|I feel sad today|I don't understand""".replace("\n", "").split("|")


def open_question(values: Values) -> str:
    r = values.rng
    text = r.choice(OPEN)
    for slot, draw in (("{w}", values.word), ("{n}", lambda: values.name() if r.random() < .5 else values.place()), ("{d}", lambda: str(r.randint(0, 999)))):
        while slot in text:
            text = text.replace(slot, draw(), 1)
    x = r.random()
    if x < .08:
        text = text[0].lower() + text[1:]
    elif x < .14:
        text = "Please " + text[0].lower() + text[1:]
    return text.rstrip("?.") if r.random() < .1 else text


SYSTEM = ["You are a helpful assistant."] * 4 + ["Be brief.", "Answer truthfully.", "You are Igris, a calm assistant.", "You are a helpful AI assistant."]


def system_prompt(values: Values) -> str:
    r = values.rng
    if r.random() < .6:
        return r.choice(SYSTEM)
    return " ".join(values.word() for _ in range(r.randint(3, 24))).capitalize() + "."


# ---------------------------------------------------------------------------------------------------------------------
# Dialogues

class Dialogue:
    """Builds one conversation turn by turn; each method adds one user turn with its reply."""

    def __init__(self, values: Values):
        self.values, self.rng = values, values.rng
        self.messages: list[Message] = []
        self.facts: dict[str, Fact] = {}
        self.asked: Fact | None = None

    def add(self, user: str, assistant: str) -> None:
        self.messages += [("user", user), ("assistant", assistant)]

    def fresh(self) -> Fact:
        """A fact that nobody told yet."""
        while True:
            fact = new_fact(self.values)
            if fact.id not in self.facts:
                return fact

    def known(self) -> Fact:
        facts = list(self.facts.values())
        return self.rng.choice(facts)

    def learn(self, facts: list[Fact], changed: bool = False) -> None:
        for fact in facts:
            self.facts[fact.id] = fact
        self.add(statement(self.rng, facts, changed), "I will remember that " + " and ".join(f.sentence for f in facts))

    def tell(self) -> None:
        self.learn([self.fresh()])

    def tell_two(self) -> None:
        while True:
            first, second = self.fresh(), self.fresh()
            if first.id != second.id and " and " not in first.value + second.value:
                return self.learn([first, second])

    def update(self) -> None:
        old = self.known()
        new = old
        while new.value == old.value:
            new = replace(old, value=new_value(self.values, old.kind, old.key))
        self.learn([new], changed=True)
        self.asked = new

    def ask_known(self) -> None:
        fact = self.asked if self.asked and self.asked.id in self.facts and self.rng.random() < .6 else self.known()
        fact = self.facts[fact.id]
        self.asked = fact
        if self.rng.random() < .03 and fact.kind == "my" and fact.key == "name":
            return self.add(f"Is my name {self.values.name()}?", fact.answer)
        self.add(question(self.rng, fact), fact.answer)

    def ask_two(self) -> None:
        if len(self.facts) < 2:
            return self.ask_known()
        first, second = self.rng.sample(list(self.facts.values()), 2)
        text = question(self.rng, second).rstrip("?.")
        self.add(question(self.rng, first).rstrip("?.") + " and " + text[0].lower() + text[1:] + "?", first.answer + " and " + second.sentence)

    def ask_unknown(self) -> None:
        r = self.rng
        fact = None
        while fact is None or fact.id in self.facts or (fact.kind in ("my", "the") and any(f.key == fact.key for f in self.facts.values())):
            fact = near_miss(self.values, list(self.facts.values())) if self.facts and r.random() < .45 else new_fact(self.values)
        self.add(question(r, fact, respell=0), fact.unknown)

    def tell_and_ask(self) -> None:
        fact = self.fresh()
        self.facts[fact.id] = fact
        text = clause(self.rng, fact)
        text = text if fact.kind == "other" else text[0].upper() + text[1:]
        self.add(text + ". " + question(self.rng, fact), fact.answer)

    def list(self) -> None:
        if len(self.facts) <= 4:
            self.add(self.rng.choice(LISTS), ". ".join(f.answer for f in self.facts.values()) or NOTHING)

    def echo(self) -> None:
        r, v = self.rng, self.values
        text = v.any() if r.random() < .5 else " ".join(v.word() for _ in range(r.randint(1, 4)))
        self.add(r.choice(["Say ", "Repeat: ", "Repeat after me: ", "Say: ", "Echo "]) + text, text)

    def small_talk(self) -> None:
        said, reply = self.rng.choice([(GREETS, GREETING), (THANKS, WELCOME), (GREETS, GREETING), (THANKS, WELCOME), (BYES, GOODBYE)])
        self.add(self.rng.choice(said), reply)

    def who(self) -> None:
        self.add(self.rng.choice(WHOS), WHO)

    def open(self) -> None:
        self.add(open_question(self.values), FALLBACK)


MIX: dict[str, float] = {"ask_known": 38, "ask_unknown": 26, "tell": 9, "update": 30, "open": 2.5, "small_talk": 5, "who": 1, "echo": .5, "list": .1,
                         "tell_two": 8, "tell_and_ask": .5, "ask_two": .2}
NEEDS_FACT = {"ask_known", "update", "ask_two"}


def conversation(values: Values, size: int, most_facts: int = 8, mix: dict[str, float] = MIX, simple: bool = False) -> list[Message]:
    """A dialogue of at least `size` bytes. A `simple` one tells one fact after the other and asks for it."""
    r = values.rng
    talk = Dialogue(values)
    used = 0
    if not simple and r.random() < .25:
        talk.messages.append(("system", system_prompt(values)))
    last = "" if simple or r.random() < .35 else r.choices(["open", "who", "ask_unknown", "ask_known"], [2, 1, 5, 4])[0]
    first = r.randint(1, most_facts - 1) if r.random() < .6 else 0  # facts told one after another at the start
    turns, weights = list(mix), list(mix.values())
    while used < size:
        start = len(talk.messages)
        if simple:
            talk.tell() if not talk.facts or (r.random() < .3 and len(talk.facts) < 3) else talk.ask_known()
        elif len(talk.facts) < first:
            talk.tell() if r.random() < .93 else talk.tell_two()
            first = first if len(talk.facts) < first else 0
        else:
            turn = r.choices(turns, weights)[0]
            if last and used > size - 110:  # the row ends soon after: of the long replies only the choice is worth learning
                turn = last
            if turn in NEEDS_FACT and not talk.facts:
                turn = "tell" if r.random() < .5 else "ask_unknown"
            if turn.startswith("tell") and len(talk.facts) >= most_facts:
                turn = "ask_known"
            getattr(talk, turn)()
        used += sum(len(text.encode()) + 4 for _, text in talk.messages[start:])
    return talk.messages


# ---------------------------------------------------------------------------------------------------------------------
# Tokens: one per byte, and five control tokens

BOS, SYSTEM_TURN, USER_TURN, ASSISTANT_TURN, END = 256, 257, 258, 259, 260
ROLE = {"system": SYSTEM_TURN, "user": USER_TURN, "assistant": ASSISTANT_TURN}


def encode(messages: list[Message]) -> tuple[list[int], list[float], list[int]]:
    """Tokens, the weight of each in the loss (0 for what the assistant does not say), and where messages start."""
    ids: list[int] = []
    weights: list[float] = []
    starts: list[int] = []
    for role, text in messages:
        starts.append(len(ids))
        body = list(text.encode())
        if role != "assistant":
            said = [0.] * (len(body) + 1)
        elif text in (FALLBACK, WHO, GREETING):
            said = [1.] * 12 + [.15] * (len(body) - 11)
        else:
            said = [.6 if text.startswith("I will remember") else 1.] * (len(body) + 1)
        ids += [ROLE[role], 10, *body, END, 10]
        weights += [0., 0., *said, 0.]
    return ids, weights, starts


if __name__ == "__main__":
    shown = random.Random(3)
    for _ in range(4):
        for who, line in conversation(Values(shown), 700):
            print(f"{who:>9} | {line}")
        print("-" * 60)
