"""The small vocabulary that all stories share: who, where, what; and requests made of it."""

ANIMALS = """fox rabbit bear mouse owl frog duck cat dog pony lamb pig hen goat turtle squirrel hedgehog badger beaver otter
bee ant snail robin crow goose donkey calf kitten puppy lion elephant monkey penguin whale dragon""".split()
HE = """Pip Milo Benny Hugo Teddy Oscar Rusty Biscuit Coco Bramble Nibbles Otto Felix Toby Barney Monty Archie Basil Rufus
Digby""".split()
SHE = """Bella Tilly Dot Fern Poppy Daisy Luna Penny Momo Clover Pepper Sunny Hazel Olive Willow Mimi Maple Tansy Bonnie
Flora""".split()
GIRLS = "Lily Mia Anna Rose Ella Lucy Nora Ivy Clara Zoe May Amy Sara Jane Emma Ruby".split()
BOYS = "Tom Ben Sam Max Leo Jack Tim Finn Noah Dan Will Joe Adam Luke Owen Jim".split()
NAMES = {("girl", "she"): GIRLS, ("boy", "he"): BOYS, ("", "he"): HE, ("", "she"): SHE}
THINGS = """a red kite|a blue ball|a shiny stone|a small boat|a warm hat|a wooden drum|a yellow flower|an old map|a silver bell|
a big apple|a little lamp|a soft blanket|a golden key|a paper plane|a magic seed|a green umbrella|a toy train|a lost letter|
a honey cake|a pretty shell|a tall ladder|a broken clock|a round pumpkin|a pair of boots|a jar of berries|a purple feather|
a tiny door|a story book|a snowman|a bright star""".replace("\n", "").split("|")
PLACES = """in a green forest|near a quiet lake|on a small farm|in a little village|by the sea|on a high hill|in a cozy house|
in a sunny garden|by a wide river|in a hollow tree|near the old mill|in a big town""".replace("\n", "").split("|")
FEELINGS = "happy sad shy curious brave lonely hungry sleepy proud kind clever careless".split()
MORALS = """it is good to share|friends help each other|it is good to tell the truth|you should never give up|
it is all right to ask for help|being kind makes you happy|small ones can do big things|it is wise to listen|
it is good to be patient|everyone is good at something|it is good to say sorry|home is the best place""".replace("\n", "").split("|")
LEADS = ["Tell me a story", "Tell a story", "Write a short story", "Please tell me a story", "Tell me a short story"]


def article(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def someone(rng, kinds=None, apart_from=()):
    """(kind, name, he or she): a fox named Pip, a girl named Lily."""
    while True:
        kind = rng.choice(kinds or (ANIMALS if rng.random() < 0.65 else ["girl", "boy"]))
        he = {"girl": "she", "boy": "he"}.get(kind) or rng.choice(["he", "she"])
        name = rng.choice(NAMES.get((kind, he)) or NAMES["", he])
        if all(kind != other[0] and name != other[1] for other in apart_from):
            return kind, name, he


def request(rng):
    """What a user would ask for, the fuller prompt for the model that writes, and the story's first words."""
    kind, name, he = someone(rng)
    thing, place, feeling, moral = (rng.choice(x) for x in (THINGS, PLACES, FEELINGS, MORALS))
    short = thing.split(" ", 1)[1]
    asked = rng.choice([f"about {article(kind)} and {thing}", f"about {article(kind)} named {name}", f"about {name} and the {short}",
                        f"about {article(feeling + ' ' + kind)}", f"that teaches that {moral}", f"about {thing}"])
    ask = f"Write a short simple story for little children about {article(kind)} and {thing}. It shows that {moral}."
    first = rng.choice([
        f"Once upon a time there was a little {kind} named {name}. {name} lived {place}.",
        f"Once upon a time, {place}, there lived {article(feeling)} {kind}. The {kind}'s name was {name}.",
        f"There was once a little {kind} who lived {place}. The name of the {kind} was {name}.",
        f"{name} was {article(feeling)} little {kind} who lived {place}.",
    ])
    second = rng.choice([
        f"One day {name} found {thing}.", f"One morning {name} saw {thing}.", f"One day {name} wanted {thing}.",
        f"{name} had {thing}, and {he} loved it very much.", f"One day, {name} went out to look for {thing}.",
        f"One day a friend gave {name} {thing}.", f"{name} felt very {feeling}.", "",
    ])
    return f"{rng.choice(LEADS)} {asked}.", ask, f"{first} {second}".strip()
