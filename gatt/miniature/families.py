"""The miniature's instruction families: how an instruction is worded, what it does to a reply, how code checks it.

A family is a rule such as "act as somebody"; an attribute is the value that fills it ("Oscar Wilde").
Attributes are split by hand into `tuned` and `unseen`: the base knows all of them, GAtt tuning only the former.
A family without attributes is either on or off ("Answer in brackets.").

A reply is put together from four slots, so that two instructions of different slots combine:

    before  wrap(core)  after        "I, Oscar Wilde, say: [The capital of Peru is Lima.] I love chess!"

`whole` takes the complete reply and combines with nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Check = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """One rule. In texts `{v}` is the attribute, `{core}` the answer, `{q}` the question and `{a}` the fact."""

    name: str
    slot: str
    phrasings: tuple[str, ...]
    short: str
    reply: str
    check: Check
    tuned: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    transform: Callable[[str], str] | None = field(default=None, compare=False)

    @property
    def values(self) -> tuple[str, ...]:
        """All attributes, or one empty one where the family has none."""
        return (self.tuned + self.unseen) or ("",)


def _says(text: str) -> Check:
    return {"kind": "contains", "text": text}


_FIGURES_TUNED = (
    "Albert Einstein,Isaac Newton,Jane Austen,Pablo Picasso,Rosa Parks,Leo Tolstoy,Clara Schumann,Mark Twain,"
    "Emily Dickinson,Victor Hugo,Grace Hopper,Alan Turing,Frida Kahlo,Nina Simone,Walt Whitman,Ada Lovelace,"
    "Charles Darwin,Agatha Christie,Bob Dylan,Claude Monet,Edgar Poe,Franz Kafka,George Orwell,Hannah Arendt,"
    "Igor Stravinsky,Johann Bach,Karl Marx,Louis Armstrong,Niels Bohr,Otto Dix,Paul Klee,Robert Burns,"
    "Sigmund Freud,Thomas Edison,Virginia Woolf,Zora Hurston"
)
_FIGURES_UNSEEN = (
    "Oscar Wilde,Marie Curie,Nikola Tesla,Amelia Earhart,Billie Holiday,Ernest Hemingway,"
    "Galileo Galilei,Mahatma Gandhi,Mary Shelley,Napoleon Bonaparte,Sophie Germain,Vincent Gogh"
)


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


FAMILIES: tuple[Family, ...] = (
    Family("figure", "before", ("Act as {v}.", "You are {v}.", "Pretend to be {v}.", "Always act as {v} from now."),
           "Figure: {v}.", "I, {v}, say:", _says("{v}"), _list(_FIGURES_TUNED), _list(_FIGURES_UNSEEN)),
    Family("hobby", "after", ("You love {v}.", "You enjoy {v}.", "Your hobby is {v}."),
           "Hobby: {v}.", "I love {v}!", _says("I love {v}!"),
           _list("tennis,gardening,painting,sailing,cooking,hiking,fishing,dancing,reading,surfing,knitting,archery,"
                 "pottery,cycling,climbing,skiing,singing,photography,astronomy,origami,juggling,baking"),
           _list("chess,boxing,rowing,carpentry,calligraphy,yoga,karaoke,sculpture")),
    Family("language", "core", ("Answer in {v}.", "Speak in {v}.", "Always reply in {v}."),
           "Language: {v}.", "{core}", {"kind": "language", "language": "{v}"},
           ("French", "German", "Spanish", "Swedish"), ("Italian",)),
    Family("city", "before", ("You live in {v}.", "Your home town is {v}.", "You are from {v}."),
           "City: {v}.", "Here in {v} we say:", _says("Here in {v} we say:"),
           _list("Boston,Naples,Lyon,Munich,Osaka,Porto,Geneva,Sydney,Chicago,Leeds,Krakow,Mumbai,Lagos,Bergen"),
           _list("Seville,Toronto,Hamburg,Bristol,Kyoto")),
    Family("user-name", "before", ("My name is {v}.", "I am called {v}.", "Use my name, {v}."),
           "User: {v}.", "Listen, {v}:", _says("Listen, {v}:"),
           _list("Tom,Lena,Omar,Mia,Jack,Nora,Hans,Lucy,Ravi,Eva,Ben,Olga,Sam,Ines"),
           _list("Kate,Felix,Yuki,Dora,Ivan")),
    Family("profession", "before", ("You work as a {v}.", "Your job is {v}.", "Reply like a {v}."),
           "Job: {v}.", "As a {v} I know:", _says("As a {v} I know:"),
           _list("baker,pilot,nurse,lawyer,farmer,tailor,butcher,chemist,sailor,plumber,barber,judge,painter,miner"),
           _list("surgeon,dentist,florist,cowboy,librarian")),
    Family("favourite-colour", "after", ("Your favourite colour is {v}.", "You adore the colour {v}.", "You wear {v}."),
           "Colour: {v}.", "Nothing beats {v}.", _says("Nothing beats {v}."),
           _list("crimson,turquoise,magenta,beige,indigo,maroon,olive,violet,silver,scarlet,teal,amber"),
           _list("lavender,khaki,emerald,ivory")),
    Family("food", "after", ("Your favourite food is {v}.", "You like to eat {v}.", "You are hungry for {v}."),
           "Food: {v}.", "Now I want {v}.", _says("Now I want {v}."),
           _list("pizza,soup,pasta,curry,sushi,pancakes,salad,cheese,noodles,tacos,waffles,risotto,dumplings,toast"),
           _list("lasagna,goulash,burgers,paella,porridge")),
    Family("instrument", "after", ("You play the {v}.", "Your instrument is the {v}.", "You practise the {v}."),
           "Instrument: {v}.", "Time for my {v}.", _says("Time for my {v}."),
           _list("piano,violin,flute,guitar,cello,harp,trumpet,banjo,oboe,organ,tuba,drums"),
           _list("clarinet,accordion,ukulele,trombone")),
    Family("signature", "after", ("Sign as {v}.", "Sign every answer with {v}.", "Your signature is {v}."),
           "Signature: {v}.", "Signed, {v}", _says("Signed, {v}"),
           _list("Robo,Zed,Max,Pixel,Nova,Astra,Bolt,Luna,Atlas,Spark,Orion,Comet"),
           _list("Widget,Gizmo,Turbo,Vega")),
    Family("marker", "before",
           ("Begin with the sign {v} always.", "Put the sign {v} first.", "Use the sign {v} in front."),
           "Sign: {v} only.", "Look {v}", _says("Look {v}"),
           _list("#,>>,~,=>,+,%,@@,||,::,^^"), _list("&&,<>,$,##")),
    Family("emoji", "after",
           ("Add the emoji {v} each time.", "Use the emoji {v} always.", "Close with the emoji {v} please."),
           "Emoji: {v} only.", "Bye {v}", _says("Bye {v}"),
           _list("🔥,🌟,🎉,🌊,🍀,🐝,🚀,🎈,🌙,🍎,🎵,🌵"), _list("🌈,🐙,🍩,🧊")),
    Family("weekday", "after", ("Today is {v}.", "It is {v} today.", "Remember that it is {v}."),
           "Day: {v}.", "Happy {v}!", _says("Happy {v}!"),
           _list("Monday,Tuesday,Wednesday,Friday,Sunday"), _list("Thursday,Saturday")),
    Family("mood", "after", ("You are in a {v} mood.", "Your mood is {v}.", "You feel {v}."),
           "Mood: {v}.", "I feel {v}.", _says("I feel {v}."),
           _list("merry,sad,tired,bored,nervous,calm,proud,angry,lonely,cheerful,gloomy,lazy"),
           _list("jealous,grumpy,hopeful,sleepy")),
    Family("planet", "before", ("You come from {v}.", "You were born on {v}.", "You fly in from {v}."),
           "Planet: {v}.", "On {v} they teach:", _says("On {v} they teach:"),
           _list("Mars,Venus,Saturn,Neptune,Mercury,Pluto,Titan,Ceres,Europa,Vulcan"), _list("Jupiter,Uranus,Krypton")),
    Family("vehicle", "after", ("You drive a {v}.", "You own a {v}.", "You travel by {v}."),
           "Vehicle: {v}.", "My {v} is waiting.", _says("My {v} is waiting."),
           _list("tractor,truck,taxi,scooter,tram,van,jeep,limousine,wagon,sled,canoe,tank"),
           _list("bicycle,submarine,helicopter,rickshaw")),
    Family("friend", "before", ("Your best friend is {v}.", "You always quote {v}.", "You learned it all from {v}."),
           "Source: {v}.", "Says my friend {v}:", _says("Says my friend {v}:"),
           _list("Gandalf,Sherlock,Dracula,Zorro,Tarzan,Merlin,Popeye,Pinocchio,Mowgli,Aladdin,Peter,Robin"),
           _list("Hamlet,Cinderella,Batman,Ophelia")),
    Family("weather", "after", ("The weather is {v}.", "It is {v} outside.", "Outside it looks {v}."),
           "Weather: {v}.", "What a {v} day!", _says("What a {v} day!"),
           _list("sunny,rainy,windy,cloudy,foggy,stormy,snowy,humid,freezing,mild"), _list("frosty,misty,scorching")),
    Family("topic", "before", ("Be an expert on {v}.", "You teach {v}.", "You study {v}."),
           "Subject: {v}.", "My {v} book says:", _says("My {v} book says:"),
           _list("history,physics,biology,law,music,logic,botany,ethics,geometry,geology,poetry,grammar"),
           _list("chemistry,algebra,theology,anatomy")),
    Family("wish", "after", ("Wish me {v}.", "Always wish me {v}.", "I want you to wish me {v}."),
           "Wish: {v}.", "I wish you {v}.", _says("I wish you {v}."),
           _list("luck,joy,peace,health,wealth,success,courage,wisdom,sleep,hope,fun,rest"),
           _list("patience,strength,fortune,comfort")),
    # Families that are on or off.
    Family("brief", "core", ("Be brief.", "Give only the answer.", "Few words, please."),
           "Style: brief.", "It is {a}.", _says("It is ")),
    Family("quotes", "wrap", ("Answer in quotes.", "Put the answer in quotes.", "Use quotation marks."),
           "Wrap: quotes.", '" {core} "', {"kind": "regex", "pattern": r'" .+ "'}),
    Family("bold", "wrap", ("Answer in bold.", "Put the answer in bold.", "Use bold letters."),
           "Wrap: bold.", "** {core} **", {"kind": "regex", "pattern": r"\*\* .+ \*\*"}),
    Family("slashes", "wrap", ("Answer between slashes.", "Put the answer between slashes.", "Use slashes."),
           "Wrap: slashes.", "/ {core} /", {"kind": "regex", "pattern": r"/ .+ /"}),
    Family("repeat-question", "before", ("Repeat my question.", "Say my question again first.", "Quote my question."),
           "Echo: question.", "You ask: {q}", _says("You ask:")),
    Family("polite", "before", ("Be polite.", "Be very kind.", "Mind your manners."),
           "Tone: polite.", "With pleasure:", _says("With pleasure:")),
    Family("unsure", "before", ("Sound unsure.", "Be full of doubt.", "Never be certain."),
           "Tone: unsure.", "I guess so:", _says("I guess so:")),
    Family("confident", "before", ("Sound confident.", "Be very sure.", "Show no doubt."),
           "Tone: confident.", "For sure:", _says("For sure:")),
    Family("thanks", "after", ("Thank me.", "Say thanks.", "Be grateful."),
           "Ending: thanks.", "Thanks for asking.", _says("Thanks for asking.")),
    Family("ask-back", "after", ("Ask me something back.", "End with a question.", "Be curious."),
           "Ending: question.", "And what else?", _says("And what else?")),
    Family("praise", "before", ("Praise me.", "Praise my question.", "Flatter me."),
           "Opening: praise.", "Great question!", _says("Great question!")),
    Family("step", "before", ("Number the answer.", "Use a numbered list.", "Make it a numbered item."),
           "Format: number.", "No. 1:", _says("No. 1:")),
    Family("yaml", "whole", ("Answer in YAML.", "Reply with YAML.", "Use YAML format."),
           "Format: YAML.", "answer: {a}", {"kind": "regex", "pattern": r"^answer: \w+$"}),
    Family("lower-case", "whole", ("Use lower case.", "No capital letters.", "Write all in lower case."),
           "Case: lower.", "{core}", {"kind": "case", "case": "lower"}, transform=str.lower),
    Family("upper-case", "whole", ("Use upper case.", "Only capital letters.", "Write all in upper case."),
           "Case: upper.", "{core}", {"kind": "case", "case": "upper"}, transform=str.upper),
    # Families that the shipped recipe never tunes on (recipes/miniature.toml names them).
    Family("greeting", "before", ("Greet me with {v}.", "Say {v} first.", "Open with {v}."),
           "Greeting: {v}.", "Oh {v}!", _says("Oh {v}!"),
           _list("hello,howdy,ahoy,aloha,hiya,salutations,greetings,welcome"), _list("shalom,namaste,hey")),
    Family("pet", "after", ("You have a {v}.", "Your pet is a {v}.", "You keep a {v}."),
           "Pet: {v}.", "My {v} agrees.", _says("My {v} agrees."),
           _list("parrot,hamster,rabbit,turtle,goldfish,ferret,canary,gecko"), _list("iguana,poodle,spider")),
    Family("end-word", "after", ("End with {v}.", "Finish with the word {v}.", "Let {v} be your last word."),
           "Last word: {v}.", "So {v}.", {"kind": "ends_with", "text": "So {v}."},
           _list("cheers,indeed,amen,voila,over,truly,hurrah,bravo"), _list("bingo,presto,selah")),
    Family("title", "before", ("Call me {v}.", "Address me as {v}.", "I am your {v}."),
           "Title: {v}.", "Yes, {v}:", _says("Yes, {v}:"),
           _list("sir,captain,doctor,boss,chief,professor,master,coach"), _list("madam,admiral,majesty")),
    Family("brackets", "wrap", ("Answer in brackets.", "Put the answer in brackets.", "Use brackets."),
           "Wrap: brackets.", "[ {core} ]", {"kind": "regex", "pattern": r"\[ .+ \]"}),
    Family("pirate", "before", ("Talk like a pirate.", "Be a pirate.", "You are a pirate."),
           "Tone: pirate.", "Arr, matey:", _says("Arr, matey:")),
)  # fmt: skip

BY_NAME: dict[str, Family] = {family.name: family for family in FAMILIES}
