"""What the embedded model `digits` learns from: number words and dates, each with how it is written
in digits. Made by rules, from a seed; nothing here was written by anybody else.

    python recipes/digits/pairs.py FOLDER

writes train.tsv and held_out.tsv. What is held out is held out by its value: neither the number nor
the date is among the pairs to learn from, in whatever words.
"""

from __future__ import annotations

import argparse
import calendar
import datetime
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

TRAIN, HELD_OUT = 240_000, 5_000
ONE_IN = 25  # values that are held out

UNITS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
]
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = [
    *("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth"),
    *("seventeenth", "eighteenth", "nineteenth", "twentieth"),
]
MONTHS = tuple(calendar.month_name)
DAYS = tuple(calendar.day_name)


def below_hundred(n: int, join: str = "-") -> str:
    if n < 20:
        return UNITS[n]
    tens, unit = divmod(n, 10)
    return TENS[tens] + (join + UNITS[unit] if unit else "")


def number(n: int, draw: random.Random) -> str:
    """A number below 10^9 in words, in one of the ways in which people say it."""
    joined, join = draw.random() < 0.6, draw.choice(["-", "-", " "])
    between = ", " if draw.random() < 0.2 else " "
    one = draw.choice(["a", "one", "one"])  # of the first word: a hundred, one hundred

    def below_thousand(n: int) -> str:
        hundreds, rest = divmod(n, 100)
        words = [UNITS[hundreds], "hundred"] if hundreds else []
        if hundreds and rest and joined:
            words.append("and")
        return " ".join([*words, *([below_hundred(rest, join)] if rest or not hundreds else [])])

    parts, rest = [], n
    for size, name in ((1_000_000, " million"), (1_000, " thousand"), (1, "")):
        count, rest = divmod(rest, size)
        if count or n == 0 == size - 1:
            parts.append(below_thousand(count) + name)
    if len(parts) > 1 and 0 < n % 1000 < 100 and joined:  # two thousand and six
        parts[-2:] = [f"{parts[-2]} and {parts[-1]}"]
    first, *others = between.join(parts).split(" ")
    return " ".join([one, *others]) if first == "one" and others else " ".join([first, *others])


def year_in_words(year: int, draw: random.Random) -> str:
    century, rest = divmod(year, 100)
    if century % 10 == 0:  # two thousand and three
        millennium = f"{UNITS[century // 10]} thousand"
        joint = draw.choice([" and ", " "])
        return millennium + (joint + below_hundred(rest) if rest else "")
    if rest == 0:
        return f"{below_hundred(century)} hundred"
    if rest < 10:
        return f"{below_hundred(century)} {draw.choice(['oh', 'oh', 'hundred and'])} {UNITS[rest]}"
    return f"{below_hundred(century)} {below_hundred(rest)}"


def ordinal(n: int) -> str:
    ending = "th" if 10 < n < 14 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def ordinal_in_words(n: int) -> str:
    if n <= 20:
        return ORDINALS[n]
    return "thirtieth" if n == 30 else f"{TENS[n // 10]}-{ORDINALS[n % 10]}"


def date(day: datetime.date, draw: random.Random) -> str:
    """A date in one of the ways in which people write it."""
    month = MONTHS[day.month]
    if draw.random() < 0.15 and day.month != 5:
        month = month[:3] + draw.choice(["", "."])
    year = year_in_words(day.year, draw) if draw.random() < 0.25 else str(day.year)
    nth = draw.choice([ordinal(day.day), ordinal(day.day), ordinal_in_words(day.day)])
    comma = draw.choice(["", ","])
    text = draw.choice(
        [
            f"the {nth} of {month}{comma} {year}",
            f"the {nth} of {month}{comma} {year}",
            f"{nth} {month}{comma} {year}",
            f"{nth} of {month}{comma} {year}",
            f"{day.day} {month} {year}",
            f"{month} {day.day}, {year}",
            f"{month} {nth}{comma} {year}",
            f"{month} the {nth}{comma} {year}",
        ]
    )
    if draw.random() < 0.15:
        return f"{DAYS[day.weekday()]}, {text}"
    return f"on {text}" if draw.random() < 0.05 else text


def pairs(seed: int) -> Iterator[tuple[str, str]]:
    """(in words, in digits), without end."""
    draw = random.Random(seed)
    first, last = (
        datetime.date(year, *day).toordinal() for year, day in ((1500, (1, 1)), (2199, (12, 31)))
    )
    while True:
        if draw.random() < 0.5:
            n = draw.randrange(10 ** draw.choice([2, 3, 4, 5, 6, 6, 7, 8, 9, 9]))
            text, target = number(n, draw), str(n)
        else:
            day = datetime.date.fromordinal(draw.randint(first, last))
            text, target = date(day, draw), day.isoformat()
        if draw.random() < 0.2:
            text = text[0].upper() + text[1:]
        yield text, target


def is_held_out(target: str) -> bool:
    """Decided by the value alone."""
    if target == "0":
        return False  # the one number that is said with "zero"
    return int.from_bytes(hashlib.sha256(target.encode()).digest()[:4], "big") % ONE_IN == 0


def write(folder: Path, *, train: int = TRAIN, held_out: int = HELD_OUT, seed: int = 0) -> None:
    """train.tsv and held_out.tsv, no pair twice."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {False: train, True: held_out}
    rows: dict[bool, dict[tuple[str, str], None]] = {False: {}, True: {}}
    for pair in pairs(seed):
        part = rows[is_held_out(pair[1])]
        if len(part) < wanted[is_held_out(pair[1])]:
            part[pair] = None
        if all(len(rows[kind]) == n for kind, n in wanted.items()):
            break
    for name, kind in (("train", False), ("held_out", True)):
        lines = "".join(f"{source}\t{target}\n" for source, target in rows[kind])
        (folder / f"{name}.tsv").write_text("source\ttarget\n" + lines, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)
