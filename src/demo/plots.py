"""Stories told by `plots.txt`: every choice drawn, every name filled in, so that who is who holds from beginning to end.

    python plots.py 3            three stories, with what a user might have asked
"""

import functools
import pathlib
import random
import re
import sys

import words

FOODS = """a honey cake|a loaf of bread|an apple pie|a big red apple|a basket of berries|a jar of jam|a round cheese|a ripe pear|
a plum cake|a bowl of nuts|a bunch of carrots|a berry pie""".replace("\n", "").split("|")
FRAGILE = "a blue cup|a glass bird|a little lamp|an old clock|a white bowl|a music box|a green vase|a painted egg|a toy ship".split("|")
TOYS = [t for t in words.THINGS if t.split()[-1] not in
        "ladder door snowman star seed boots clock letter apple cake flower berries pumpkin stone".split()]
SPOTS = """by the river|in the woods|under the old oak tree|behind the barn|at the pond|in the meadow|on the hill|near the well|
by the mill|in the tall grass|at the edge of the forest|beside the brook|in the garden|under the bridge""".replace("\n", "").split("|")
OLD = [("Grandmother Owl", "she"), ("old Mr. Badger", "he"), ("the old turtle", "she"), ("Mother Bear", "she"),
       ("the wise old owl", "he"), ("Grandfather Frog", "he"), ("old Mrs. Goose", "she"), ("Uncle Hare", "he")]
SKILLS = "whistle|dance|skate on the ice|read|bake bread|fly a kite|row a boat|ride a bike|paint|sing|knit".split("|")
OPENINGS = [
    "Once upon a time there was a little {k} named {h}. {h} lived {place}.",
    "Once upon a time, {place}, there lived a [little|small|young] {k} named {h}.",
    "Once there was {afeelk}. {His} name was {h}, and {he} lived {place}.",
    "{h} was a [little|small|young] {k} who lived {place}.",
    "{Place}, there lived a little {k}. {His} name was {h}.",
    "There was once {ak} named {h} who lived {place}. {He} was always {feel}.",
    "In a land far away, there was {ak} named {h}. {He} had a little house {place}.",
    "Long ago, {ak} named {h} lived {place} with {his} [mother|father|grandmother|family].",
]
ENDINGS = [
    "And so {h} learned that {moral}.", "From that day on, {h} knew that {moral}.", "{h} never forgot that {moral}.",
    "And that is how {h} learned that {moral}.", "And they all lived happily ever after.", "And then {h} slept well and had sweet dreams.",
    "And {h} was the happiest {k} of all.", "It was a day that {h} never forgot.", "\n\nAnd if you go there today, you may still see {h} and {f} together. They know that {moral}.",
    "\n\nThen everyone went home. {h} smiled. {Moral}.", "\n\nThe end.", "{h} and {f} were friends for ever after.",
]


@functools.cache
def plots():
    """(title, moral, requests, text) of every plot."""
    found = []
    for part in re.split(r"^## ", pathlib.Path(__file__).with_suffix(".txt").read_text(), flags=re.M)[1:]:
        head, _, body = part.partition("\n")
        title, moral = (x.strip() for x in head.split("|")[:2])
        asked = re.findall(r"^~ (.*)$", body, flags=re.M)
        found.append((title, moral, asked, re.sub(r"^~ .*\n", "", body, flags=re.M).strip()))
    return found


def choose(rng, text):
    """Draws the innermost choices until none is left."""
    while (drawn := re.sub(r"\[([^\[\]]*)\]", lambda m: rng.choice(m[1].split("|")), text)) != text:
        text = drawn
    return text


def capital(word):
    return word[:1].upper() + word[1:]


def by_kind(rng, text):
    """Says "the fox" for some of the names in what is told (not in what is said), once a name and its kind were said together."""
    parts = text.split('"')
    for who, kind, share in (("{h}", "{k}", 0.25), ("{f}", "{fk}", 0.15)):
        known = 0
        for i in range(0, len(parts), 2):

            def name(match):
                nonlocal known
                known += 1
                if known < 3 or rng.random() > share:
                    return match[0]
                return f"the little {kind}" if rng.random() < 0.25 else f"the {kind}"

            parts[i] = re.sub(re.escape(who) + "(?!'| the )", name, parts[i])
    return '"'.join(parts)


def request(rng, asked, drawn, feeling):
    """What a user might ask for to be told this."""
    draw = rng.random()
    if draw < 0.1:
        return f"{rng.choice(words.LEADS)}."
    if draw < 0.55:
        asked = ["about {ak} named {h}", "about {ak}", "about {h}", "about {ak} and {afk}", "that teaches that {moral}"]
        if "{afeelk}" in drawn or "{feel}" in drawn:
            asked.append(f"about {words.article(feeling)} {{k}}")
        if "thing}" in drawn:
            asked += ["about {ak} and {athing}", "about {h} and the {thing}"]
    return f"{rng.choice(words.LEADS)} {rng.choice(asked)}."


def cast(rng, moral):
    """Who, where and what of one story: what the names in braces stand for."""
    hero = words.someone(rng)
    friend = words.someone(rng, words.ANIMALS, [hero])
    third = words.someone(rng, words.ANIMALS, [hero, friend])
    old, old_he = rng.choice([o for o in OLD if all(kind not in o[0].lower() for kind, *_ in (hero, friend, third))])
    thing, food, fragile = rng.choice(TOYS), rng.choice(FOODS), rng.choice(FRAGILE)
    spot, spot2 = rng.sample(SPOTS, 2)
    feeling = rng.choice(words.FEELINGS)
    bare = lambda x: x.split(" ", 1)[1]
    fill = {
        "h": hero[1], "k": hero[0], "ak": words.article(hero[0]), "feel": feeling, "afeelk": f"{words.article(feeling)} {hero[0]}",
        "f": friend[1], "fk": friend[0], "afk": words.article(friend[0]), "g": third[1], "gk": third[0], "old": old,
        "place": rng.choice(words.PLACES), "spot": spot, "spot2": spot2, "skill": rng.choice(SKILLS), "moral": moral,
        "thing": bare(thing), "athing": thing, "food": food, "fragile": bare(fragile), "afragile": fragile,
    }
    for who, he in (("", hero[2]), ("f", friend[2]), ("g", third[2]), ("o", old_he)):
        fill[who + "he"], fill[who + "him"], fill[who + "his"] = (he, "him", "his") if he == "he" else (he, "her", "her")
    return fill | {capital(key): capital(value) for key, value in fill.items()}


def story(rng):
    """(request, story)."""
    _, moral, asked, text = rng.choice(plots())
    fill = cast(rng, moral)
    opening, ending = rng.choice(OPENINGS), rng.choice(ENDINGS)
    drawn = choose(rng, text.replace("{open}", opening))
    ask = request(rng, asked, drawn, fill["feel"])
    drawn = by_kind(rng, drawn).replace("{end}", ending)
    ask, text = (re.sub(r"\{(\w+)\}", lambda m: fill[m[1]], x) for x in (ask, drawn))
    text = re.sub(r" +", " ", text).replace(" .", ".")
    text = re.sub(r" *\n *", "\n", re.sub(r"\n\n+", "\n\n", text)).strip()
    text = re.sub(r'([?!])[,.]"', r'\1"', text)  # a question that was drawn before the comma of "said"
    text = re.sub(r'(^|[^.][.!?] |[^.]\." |\n)("?)([a-z])', lambda m: m[1] + m[2] + m[3].upper(), text)
    return ask, text


def main():
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for _ in range(int(sys.argv[1])):
        request, text = story(rng)
        print(f"> {request}\n\n{text}\n\n----\n")


if __name__ == "__main__":
    main()
