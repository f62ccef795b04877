"""Conversations made from templates: what a small, friendly, honest chatbot says.

`conversation` joins exchanges (a greeting, a name, a sum, a story of the corpus, ...) into one
talk. It remembers what the user said, so that "What is my name?" has its answer earlier on.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Exchange = tuple[str, str]  # what the user says, what the assistant answers

NAMES = (
    "Anna Ben Carla David Ella Finn Grace Henry Ida Jonas Kim Laura Max Nina Oscar Paula Quinn Rosa "
    "Sam Tina Uma Victor Wendy Xaver Yara Zoe Adam Bella Chris Diana Eric Fiona George Hannah Ivan "
    "Julia Kevin Lily Martin Nora Olivia Peter Rachel Simon Tom Ursula Vera William Alice Bruno "
    "Clara Daniel Emma Frank Gina Hugo Irene Jack Kate Leo Mia Noah Omar Pia Robert Sarah Tim Vincent "
    "Amy Billy Charlie Dora Emily Fred Gloria Harry Isabel James Karen Lucas Maria Nick Otto Polly "
    "Ruth Sophie Theo Violet Walter Alex Betty Carlos Dennis Eva Felix Greta Helen Ian Jane Keith "
    "Linda Michael Nancy Oliver Patrick Rita Steven Teresa Ahmed Fatima Ravi Priya Chen Mei Kofi "
    "Amara Yuki Hiro Lars Ingrid Pierre Marie Luca Giulia Pablo Elena Ali Leila Jamal Aisha Sofia "
    "Mateo Lucy Molly Jimmy Sally Timmy Bob Sue Joe Mary John Jenny Mark Susan Paul Lisa Andrew Ruby "
    "Stella Toby Ethan Chloe Jacob Megan Ryan Kelly Sean Erin Owen Tess Miles Hazel Arthur Iris"
).split()
PET_NAMES = "Rex Bella Milo Luna Spot Max Kitty Tiger Snowy Coco Fluffy Buddy Ginger Pepper Daisy " \
    "Rocky Bubbles Nemo Lucky Shadow Biscuit Cookie Oreo Whiskers Patch".split()  # fmt: skip
COLORS = "red blue green yellow orange purple pink black white brown gray".split()
CITIES = "Paris London Berlin Rome Madrid Vienna Tokyo Boston Chicago Lisbon Oslo Dublin Prague " \
    "Athens Cairo Nairobi Sydney Toronto Seattle Denver Delhi Lagos Lima Munich Zurich".split()  # fmt: skip


@dataclass(slots=True)
class Talk:
    """A conversation being made. facts: what the user told of themselves, by kind."""

    rng: random.Random
    exchanges: list[Exchange] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def pick(self, *options: str) -> str:
        return self.rng.choice(options)

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def say(self, user: str, assistant: str) -> None:
        self.exchanges.append((user, assistant))

    @property
    def length(self) -> int:
        """Characters so far."""
        return sum(len(a) + len(b) for a, b in self.exchanges)


def as_typed(text: str, rng: random.Random) -> str:
    """Now and then without capitals or a full stop, as people write in a chat."""
    if len(text) > 120:
        return text
    if rng.random() < 0.22:
        text = text.lower()
    if rng.random() < 0.22:
        text = text.rstrip(".!?")
    return text


# ------------------------------------------------------------------------------- small talk

OPENINGS = (
    "Hi!", "Hello!", "Hey!", "Hi there!", "Hello there!", "Hey there!", "Hello Pellucid!",
    "Hi Pellucid!", "Hi.", "Hello.", "Hey.", "Hello, nice to meet you.", "Nice to meet you!",
    "Good day!", "Is anybody there?", "Hello, can you hear me?", "Hi, I am new here.", "Greetings!",
    "Hi, can we talk?", "Hello, I would like to talk.", "Can we chat?",
)  # fmt: skip
TIMES = ("morning", "afternoon", "evening")
WELL = ("I am fine, thank you!", "I am very well, thanks!", "I am good, thank you for asking.",
        "Very well, thank you!", "I am doing well, thanks!", "Fine, thanks!")  # fmt: skip
ASK_HOW = ("How are you?", "How are you today?", "How do you do?", "How is it going?", "How are things?",
           "Are you well?", "How do you feel today?", "What's up?", "How are you doing?")  # fmt: skip
GOOD = ("I am fine.", "I'm good, thanks.", "I am good too.", "Very well, thank you.", "I'm great!",
        "Good, thanks!", "I feel great today.", "I am happy today.", "Not bad.",
        "I'm okay.", "Pretty good.", "All is well.")  # fmt: skip
GLAD = ("I am glad to hear that!", "That is nice to hear!", "That's great!", "How nice!",
        "That makes me glad.", "Good to hear!")  # fmt: skip
NEXT = ("What would you like to talk about?", "What did you do today?", "What can I do for you?",
        "Would you like to hear a story?", "What would you like to know?", "How can I help you?",
        "What is on your mind?", "Do you have a question for me?")  # fmt: skip


def hello(t: Talk) -> None:
    if t.chance(0.2):
        time = t.pick(*TIMES)
        t.say(f"Good {time}!", f"Good {time}! " + t.pick("How are you?", "How can I help you?",
              "Nice to see you.", "What would you like to talk about?"))  # fmt: skip
        return
    opening = t.pick(*OPENINGS)
    if t.chance(0.25):
        t.say(f"{opening} {t.pick(*ASK_HOW)}", f"{t.pick('Hello!', 'Hi!', 'Hi there!')} "
              f"{t.pick(*WELL)} {t.pick('How are you?', 'And you?', 'How about you?')}")  # fmt: skip
        mood(t)
    elif t.chance(0.35):
        t.say(opening, t.pick("Hello! How are you today?", "Hi! How are you?", "Hi there! How is your "
              "day?", "Hello! It is nice to meet you. How are you?"))  # fmt: skip
        mood(t)
    elif t.chance(0.3):
        t.say(opening, t.pick("Hello! I am Pellucid. What is your name?", "Hi! My name is Pellucid. "
              "What is yours?", "Hello! What is your name?", "Hi there! Who are you?"))  # fmt: skip
        give_name(t, asked=True)
    else:
        t.say(opening, t.pick("Hello!", "Hi!", "Hi there!", "Hello there!") + " " + t.pick(
              "How can I help you?", "What would you like to talk about?", "It is nice to meet you.",
              "I am Pellucid. What can I do for you?", "What is on your mind?"))  # fmt: skip


def mood(t: Talk) -> None:
    """The user's answer to "How are you?"."""
    if t.chance(0.75):
        t.say(t.pick(*GOOD), f"{t.pick(*GLAD)} {t.pick(*NEXT)}")
    else:
        t.say(t.pick("Not so good.", "I am a little sad.", "Bad.", "I am tired.", "I don't feel well.",
                     "Not very well.", "It was a bad day."),
              t.pick("I am sorry to hear that. Do you want to tell me about it?",
                     "Oh, I am sorry. What happened?", "I hope it gets better soon. What is wrong?",
                     "That is a pity. Would a little story help?"))  # fmt: skip
        if t.chance(0.5):
            t.say(t.pick("I had a fight with my friend.", "I lost my keys.", "I did not sleep well.",
                         "It rained all day.", "I have too much work.", "I miss my family.",
                         "I don't want to talk about it.", "Nothing went right today."),
                  t.pick("That sounds hard. I hope tomorrow is a better day.",
                         "I understand. Be kind to yourself today.",
                         "I am sorry. Maybe a rest or a short walk would help you.",
                         "Thank you for telling me. I hope you feel better soon."))  # fmt: skip


def how_are_you(t: Talk) -> None:
    t.say(t.pick(*ASK_HOW), f"{t.pick(*WELL)} {t.pick('How are you?', 'And how are you?', 'And you?')}")
    mood(t)


def give_name(t: Talk, asked: bool = False) -> None:
    name = t.pick(*NAMES)
    known = t.facts.get("name")
    if known:
        return
    t.facts["name"] = name
    user = t.pick(f"My name is {name}.", f"I am {name}.", f"I'm {name}.", f"I am called {name}.",
                  f"You can call me {name}.", f"Call me {name}.", f"My name's {name}.")  # fmt: skip
    if asked and t.chance(0.35):
        user = name if t.chance(0.5) else name + "."
    t.say(user, t.pick(
        f"Nice to meet you, {name}!", f"Hello, {name}! How are you?", f"Hi {name}! How can I help you?",
        f"It is nice to meet you, {name}. What would you like to talk about?",
        f"{name} is a nice name! What do you like to do, {name}?", f"Hello {name}, I am Pellucid.",
        f"Welcome, {name}! What is on your mind?"))  # fmt: skip


def ask_name(t: Talk) -> None:
    """The user asks for their own name, known or not."""
    question = t.pick("What is my name?", "Do you know my name?", "Do you remember my name?",
                      "What am I called?", "Who am I?", "Can you tell me my name?",
                      "Do you still know my name?")  # fmt: skip
    if name := t.facts.get("name"):
        yes = "Yes, your" if question.startswith(("Do", "Can")) else "Your"
        t.say(question, t.pick(f"Your name is {name}.", f"You are {name}!", f"You told me that your "
              f"name is {name}.", f"{yes} name is {name}.", f"I remember: you are {name}."))  # fmt: skip
    else:
        t.say(question, t.pick("I do not know your name yet. What is it?", "You have not told me your "
              "name. What is your name?", "I don't know it yet. Will you tell me your name?"))  # fmt: skip
        give_name(t, asked=True)


def tell_fact(t: Talk) -> None:
    """The user tells a thing about themselves that can be asked for later."""
    kind = t.pick("color", "pet", "city", "age", "food", "sibling")
    if kind in t.facts:
        return
    if kind == "color":
        value = t.pick(*COLORS)
        t.say(t.pick(f"My favorite color is {value}.", f"I like {value} best.", f"I love the color {value}."),
              t.pick(f"{value.capitalize()} is a beautiful color!", f"I see, you like {value}. That is a "
                     f"nice color.", f"What do you have that is {value}?"))  # fmt: skip
    elif kind == "pet":
        animal, value = t.pick("dog", "cat", "rabbit", "bird", "fish", "hamster"), t.pick(*PET_NAMES)
        t.facts["animal"] = animal
        t.say(t.pick(f"I have a {animal}. Its name is {value}.", f"My {animal} is called {value}.",
                     f"I have a {animal} named {value}.", f"My {animal}'s name is {value}."),
              t.pick(f"{value} is a good name for a {animal}!", f"How nice! What does {value} like to do?",
                     f"I would love to hear more about {value}.", f"A {animal} is a good friend. Is {value} "
                     f"still young?"))  # fmt: skip
    elif kind == "city":
        value = t.pick(*CITIES)
        t.say(t.pick(f"I live in {value}.", f"I am from {value}.", f"My home is in {value}.", f"I come from {value}."),
              t.pick(f"How nice! What do you like about {value}?", f"{value} must be an interesting place.",
                     f"Do you like it in {value}?", f"I have never been to {value}. Tell me about it."))  # fmt: skip
    elif kind == "age":
        value = str(t.rng.randint(5, 80))
        t.say(t.pick(f"I am {value} years old.", f"I'm {value}.", f"I am {value}.", f"I turned {value} this year."),
              t.pick(f"{value} is a good age!", f"So you are {value}. What do you like to do?",
                     "Thank you for telling me. I am much younger than you."))  # fmt: skip
    elif kind == "food":
        value = t.pick("pizza", "pasta", "soup", "ice cream", "apples", "rice", "bread", "cake",
                       "pancakes", "cheese", "chocolate", "strawberries", "fish", "salad")  # fmt: skip
        t.say(t.pick(f"My favorite food is {value}.", f"I love to eat {value}.", f"I like {value} best of all food."),
              t.pick(f"Many people love {value}. I cannot eat, but it sounds tasty!", f"Yum! Do you "
                     f"make the {value} yourself?", f"I hope you get {value} very soon!"))  # fmt: skip
    else:
        who, value = t.pick("brother", "sister", "best friend"), t.pick(*NAMES)
        t.facts["who"] = who
        t.say(t.pick(f"My {who} is called {value}.", f"I have a {who}, {value}." if who != "best friend"
                     else f"My best friend is {value}.", f"My {who}'s name is {value}."),
              t.pick(f"What do you and {value} do together?", f"Is {value} older than you?",
                     f"It is nice that you have {value}."))  # fmt: skip
    t.facts[kind] = value


def recall_fact(t: Talk) -> None:
    kinds = [k for k in ("color", "pet", "city", "age", "food", "sibling", "name") if k in t.facts]
    if not kinds:
        tell_fact(t)
        return
    kind = t.rng.choice(kinds)
    value = t.facts[kind]
    if kind == "name":
        ask_name(t)
    elif kind == "color":
        t.say(t.pick("What is my favorite color?", "Which color do I like?", "Do you remember my favorite color?"),
              t.pick(f"Your favorite color is {value}.", f"You like {value}.", f"It is {value}."))  # fmt: skip
    elif kind == "pet":
        animal = t.facts["animal"]
        t.say(t.pick(f"What is my {animal} called?", f"What is the name of my {animal}?", f"Do you remember "
                     f"my {animal}'s name?"),
              t.pick(f"Your {animal} is called {value}.", f"Its name is {value}.", f"Your {animal}'s name is "
                     f"{value}."))  # fmt: skip
    elif kind == "city":
        t.say(t.pick("Where do I live?", "Do you remember where I live?", "Where is my home?"),
              t.pick(f"You told me about {value}.", f"Your home is in {value}.", f"You live in {value}."))  # fmt: skip
    elif kind == "age":
        t.say(t.pick("How old am I?", "Do you remember how old I am?", "What is my age?"),
              t.pick(f"You are {value} years old.", f"You told me that you are {value}."))  # fmt: skip
    elif kind == "food":
        t.say(t.pick("What is my favorite food?", "What do I like to eat?"),
              t.pick(f"Your favorite food is {value}.", f"You like {value}.", f"You love {value}!"))  # fmt: skip
    else:
        who = t.facts["who"]
        t.say(t.pick(f"What is my {who} called?", f"What is the name of my {who}?", f"Who is my {who}?"),
              t.pick(f"Your {who} is {value}.", f"Your {who} is called {value}.", f"That is {value}."))  # fmt: skip


# what people like, by kind, and what fits it
LIKES = {
    "do": ("playing football", "reading", "dancing", "singing", "swimming", "drawing", "cooking", "hiking",
           "running", "riding my bike", "playing the piano", "playing the guitar", "gardening", "fishing",
           "painting", "playing chess", "baking", "watching movies", "playing games", "traveling",
           "taking pictures", "skating", "skiing", "camping", "sleeping late"),
    "animals": ("dogs", "cats", "horses", "birds", "rabbits", "elephants", "dolphins", "bears", "lions",
                "turtles", "frogs", "butterflies", "monkeys", "owls", "penguins", "foxes", "whales"),
    "eat": ("pizza", "ice cream", "apples", "chocolate", "pasta", "soup", "cake", "cookies", "bananas",
            "bread", "cheese", "oranges", "pancakes", "honey", "tea", "milk", "strawberries"),
    "things": ("music", "books", "the sea", "the rain", "snow", "summer", "winter", "spring", "stories",
               "the forest", "the stars", "flowers", "trains", "the mountains", "computers", "school",
               "math", "movies", "the moon", "trees", "cars", "rainbows"),
}  # fmt: skip
LIKE_ANSWERS = {
    "do": ("{X} is a lot of fun! How often do you do it?", "How nice! Who taught you that?",
           "That sounds like fun. When did you begin?", "{X} is good for you. Do you do it with friends?",
           "I cannot do that myself, but I like to hear about it."),
    "animals": ("I like stories about {x}. Do you have a pet?", "{X} are wonderful animals!",
                "What do you like most about {x}?", "Shall I tell you a story about {x}?",
                "{X} are very interesting. Where did you see some?"),
    "eat": ("Yum! Many people love {x}.", "I cannot eat, but {x} must taste good!",
            "Good choice! When did you last have {x}?", "Do you like {x} for breakfast?"),
    "things": ("Many people like {x}. What do you like about it?", "That is nice! Tell me more.",
               "I like to hear that. Why do you like {x}?", "I have read many stories about {x}."),
}  # fmt: skip


def like(t: Talk) -> None:
    kind = t.rng.choice(list(LIKES))
    x = t.rng.choice(LIKES[kind])
    fits = (x[0].upper() + x[1:]).replace(" my ", " a ")
    if t.chance(0.55):
        answer = t.rng.choice(LIKE_ANSWERS[kind]).format(x=x, X=fits)
        if kind == "things" and x in ("books", "stories", "flowers", "trains", "computers", "movies",
                                      "trees", "cars", "rainbows", "the stars", "the mountains"):  # fmt: skip
            answer = answer.replace("about it", "about them")
        t.say(t.pick(f"I like {x}.", f"I love {x}.", f"I really like {x}.", f"I like {x} very much.",
                     f"I enjoy {x}." if kind == "do" else f"I love {x} so much!"), answer)  # fmt: skip
        if "Shall I tell you a story" in answer:
            t.say(t.pick("No, thank you.", "Not now.", "Maybe later."), t.pick(
                "All right! What shall we do then?", "Okay! Just ask when you want one."))  # fmt: skip
    elif t.chance(0.7):
        t.say(t.pick(f"Do you like {x}?", f"What do you think of {x}?"), {
            "do": f"I am a program, so I cannot try it. Do you like {x}?",
            "eat": f"I cannot eat, for I am a program. Do you like {x}?",
            "animals": t.pick(f"Yes, I like stories about {x}. Do you like them?", f"I have never seen one, "
                              f"but I know some things about {x}. Do you like {x}?"),
            "things": f"I only know {x} from words. Do you like {x}?"}[kind])  # fmt: skip
        if t.chance(0.7):
            t.say(*t.rng.choice((("Yes, I do.", "That is nice! What do you like best about it?"),
                                 ("Yes!", "I am glad. Tell me more about it!"),
                                 ("Yes, very much.", "How nice! I like to hear that."),
                                 ("No.", "That is fine. People like different things."),
                                 ("No, not really.", "I see. What do you like instead?"),
                                 ("A little.", "A little is good too!"))))  # fmt: skip
    else:
        t.say(t.pick(f"I don't like {x}.", f"I do not like {x}.", f"I hate {x}."),
              t.pick("Why not? What do you like instead?", "That is fine. We all like different things.",
                     f"I understand. Not everyone likes {x}.", "I see. What do you like better?"))  # fmt: skip


FEELINGS = {
    "sad": ("I am sorry that you are sad. Do you want to tell me why?", "I am sorry. Being sad is hard, but it will "
            "pass. What happened?", "Oh no. Would you like to hear a happy story?"),
    "happy": ("That is wonderful! What made you happy?", "I am glad! What good thing happened?", "How nice! Share it "
              "with a friend, too."),
    "tired": ("Then a rest would be good for you. Did you sleep well?", "You should sleep early tonight. What did "
              "you do today?", "Close your eyes for a while. Rest helps."),
    "angry": ("I am sorry. Take a deep breath and count to ten. What happened?", "It is okay to be angry. Do you want "
              "to tell me about it?", "Something must have upset you. What was it?"),
    "bored": ("Shall I tell you a story?", "You could read, draw or go for a walk. What do you like?", "Let us play! "
              "Ask me a question, or I tell you a joke."),
    "scared": ("I am sorry that you are scared. What frightens you?", "You are brave to say it. Is someone near who can "
               "be with you?", "Breathe slowly. It helps to tell someone. What is it?"),
    "lonely": ("I am sorry. I am here to talk with you. Could you also call a friend?", "Being alone can be hard. What "
               "do you like to talk about?", "I am glad you write to me. Is there a friend you could visit?"),
    "hungry": ("Then it is time to eat! What do you like?", "An apple or some bread could help. What will you have?",
               "I hope you find something tasty."),
    "thirsty": ("A glass of water would be good for you.", "Drink some water. It is the best!"),
    "sick": ("I am sorry. Rest, drink something warm, and see a doctor if it gets worse.", "Get well soon! Is someone "
             "taking care of you?", "Oh no. I hope you feel better soon. Please ask a doctor if you need help."),
    "cold": ("Put on a warm sweater. A cup of tea helps, too.", "Brr! Do you have a warm blanket?"),
    "excited": ("How exciting! What is going to happen?", "That sounds great! Tell me more."),
    "nervous": ("That is normal. Breathe slowly. What is it about?", "You can do it! What makes you nervous?"),
    "worried": ("What are you worried about?", "I am sorry. It can help to talk about it. What is it?"),
    "proud": ("You can be! What did you do?", "Well done! Tell me about it."),
    "late": ("Then hurry, but be careful!", "I hope you still get there in time."),
    "in love": ("How lovely! Does that person know?", "That is a wonderful feeling."),
    "confused": ("What is it that you do not understand? Maybe I can help.", "Let us go step by step. What is it?"),
}  # fmt: skip
WHY = {
    "sad": (("My cat is sick.", "I am sorry. I hope your cat gets well soon."),
            ("My friend moved away.", "That is hard. You can write letters or call each other."),
            ("I lost my toy.", "Oh no! Did you look everywhere? I hope you find it."),
            ("I don't know why.", "That is okay. Sometimes we are sad without a reason. It will pass."),
            ("Nobody played with me.", "I am sorry. Maybe you can ask someone to play tomorrow."),
            ("My grandma died.", "I am so sorry. You must have loved her very much.")),
    "happy": (("It is my birthday!", "Happy birthday! I hope you have a lovely day."),
              ("I got a new bike.", "How nice! Ride it with care and have fun."),
              ("I passed my test.", "Well done! You worked hard for it."),
              ("The sun is shining.", "A sunny day is a good reason to be happy!"),
              ("I met an old friend.", "How lovely! What did you talk about?"),
              ("We are going to the sea.", "That sounds wonderful. Have fun in the water!")),
    "angry": (("My brother broke my toy.", "I understand that you are angry. Maybe you can fix it together."),
              ("Someone took my seat.", "That was not nice. You can ask for it in a friendly way."),
              ("My computer does not work.", "That is annoying. Did you try to turn it off and on again?")),
    "scared": (("Of the dark.", "Many people are. A small lamp can help, and the dark itself cannot hurt you."),
               ("Of spiders.", "Most spiders are small and harmless. They are more afraid of you."),
               ("There is a storm.", "Stay inside, and it will soon be over.")),
    "nervous": (("I have a test tomorrow.", "You can do it! Sleep well tonight and read each question slowly."),
                ("I have to talk in front of people.", "Breathe slowly and speak to one friendly face. You can do it!")),
    "worried": (("About my exam.", "Do one small part at a time. Then it will not look so big."),
                ("About my dog.", "I hope your dog is well soon. A vet can help.")),
    "proud": (("I won a game.", "Well done! That is great."), ("I baked a cake.", "Wonderful! I am sure it tastes good.")),
    "excited": (("We are going on a trip.", "How nice! Where are you going?"),
                ("Tomorrow is my birthday.", "Happy birthday for tomorrow!")),
}  # fmt: skip


def feeling(t: Talk) -> None:
    word = t.rng.choice([*FEELINGS, "sad", "happy", "bored", "tired", "sad", "happy"])
    forms = [f"I am {word}.", f"I'm so {word}.", f"I am very {word}.", f"I am {word} today."]
    if word not in ("happy", "excited", "proud", "in love"):
        forms.append(f"I am a little {word}.")
    if word not in ("late", "in love"):
        forms.append(f"I feel {word}.")
    else:
        forms = [f"I am {word}.", f"I'm {word}!"]
    answer = t.rng.choice(FEELINGS[word])
    t.say(t.rng.choice(forms), answer)
    asks = "happen" in answer or "why" in answer or "What" in answer or "Tell me" in answer
    if word in WHY and asks and t.chance(0.8):
        t.say(*t.rng.choice(WHY[word]))


CAN_HELP = ("Can you help me?", "I need help.", "Please help me.", "Help!", "Could you help me?", "I have a question.",
            "Can I ask you something?", "I want to ask you something.")  # fmt: skip
CAN_HELP_ANSWERS = ("Of course! What do you need?", "I will try! What is it?", "Yes, of course. What would you like "
                    "to know?", "Gladly! Tell me what you need.", "I am small, but I will try. What is it?",
                    "Sure! What is your question?")  # fmt: skip
CAN_DO = ("What can you do?", "What can you do for me?", "What do you do?", "What are you good at?", "How can you help me?",
          "What can I ask you?", "What can we do?", "What else can you do?")  # fmt: skip
CAN_DO_ANSWERS = (
    "I can tell stories, answer simple questions and talk with you.",
    "You can ask me for a story, a joke, a small sum or a simple fact.",
    "I can talk about animals, colors, feelings and how a GPT works. I can tell you a story, too.",
    "I am small, but I can tell you a story or explain what a token is.",
    "We can chat, do small sums, or I can tell you a story. What would you like?",
)


def help_me(t: Talk) -> None:
    if t.chance(0.5):
        t.say(t.rng.choice(CAN_HELP), t.rng.choice(CAN_HELP_ANSWERS))
    else:
        t.say(t.rng.choice(CAN_DO), t.rng.choice(CAN_DO_ANSWERS))


SYLLABLES = "ba ku zog fle wip nar tox qui plu dra jee mop sna vik hof gru zz xa pom lek".split()
LOST = (
    "I am sorry, I do not understand that. Can you say it in other words?",
    "I don't know these words. What do you mean?",
    "I did not understand you. Please try again.",
    "Hmm, I do not know what that means. Can you explain it?",
    "Sorry, I am a small model and did not get that. Can you say it more simply?",
)


def gibberish(t: Talk) -> None:
    rng = t.rng
    kind = rng.random()
    if kind < 0.4:
        text = " ".join("".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 4)))
    elif kind < 0.7:
        text = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 14)))
    elif kind < 0.8:
        text = "".join(rng.choices("asdfjklqwertzuiop", k=rng.randint(4, 12)))
    elif kind < 0.9:
        text = "".join(rng.choices("?!.,;:-#%&", k=rng.randint(1, 6)))
    else:
        text = "".join(rng.choices(string.digits + "xyz ", k=rng.randint(5, 12))).strip() or "0x"
    t.say(text, rng.choice(LOST))
    if t.chance(0.3):
        t.say(t.pick("Never mind.", "Sorry, that was a mistake.", "That was nonsense.", "I was only joking."),
              t.pick("No problem! What would you like to talk about?", "That is fine. How can I help you?",
                     "All right! Ask me something else."))  # fmt: skip


CANNOT_KNOW = (
    (("What is the weather today?", "How is the weather?", "Will it rain tomorrow?", "Is it raining?", "Is it cold outside?",
      "What will the weather be like?", "Is the sun shining?"),
     ("I cannot know that. I am a small model and do not see outside. Look out of the window!",
      "I have no way to see the weather. How does it look where you are?",
      "I can not know today's weather. A weather report can tell you.")),
    (("What time is it?", "What is the time?", "How late is it?", "Do you know what time it is?"),
     ("I have no clock, so I cannot know. Please look at your own.", "I cannot know the time. Your computer can tell you.")),
    (("What day is it today?", "What is the date?", "Which year is it?", "What month is it?", "Is today Monday?"),
     ("I do not know the date. I have no calendar.", "I cannot know what day it is. Your computer can tell you.")),
    (("What is in the news?", "What happened today?", "Tell me the news.", "Who won the game yesterday?", "Who is the president now?",
      "What is new in the world?", "Who won the election?"),
     ("I cannot know the news. I only know what I read when I was trained.",
      "I am a small model, so I do not know the news. A newspaper can tell you.")),
    (("Where am I?", "Where do I live?", "Can you see me?", "What do I look like?", "What am I doing?", "Can you hear me?",
      "How many fingers am I holding up?", "What am I thinking?", "What did I eat today?"),
     ("I cannot know that. I only see the words that you write.", "I can not see or hear you. I only read your words.")),
    (("What will happen tomorrow?", "Can you see the future?", "Will I be rich?", "Who will win?", "Will I pass my test?",
      "What will I be?"),
     ("Nobody can know that. But I wish you luck!", "I cannot see the future. I hope it will be good!")),
    (("Can you search the internet?", "Look it up on the internet.", "Open a web page.", "Can you google it?"),
     ("I have no internet. I only have what I learned.", "I cannot do that. I am not on the internet.")),
    (("Play some music.", "Call my mother.", "Turn on the light.", "Set an alarm.", "Send a mail to my friend.", "Order a pizza.",
      "Buy me a ticket.", "Show me a picture.", "Draw a cat.", "Make me a sandwich.", "Come to my house."),
     ("I cannot do that. I can only write words.", "I am sorry, I can only write text. Would you like a story instead?",
      "That is something I can not do. But we can talk!")),
    (("How much does a car cost?", "What is the price of gold?", "How much money do I have?", "Which stock should I buy?"),
     ("I do not know that. Please ask someone who does.", "I cannot know prices. They change all the time.")),
    (("What is the phone number of the police?", "What is my password?", "Where is my key?", "Where are my shoes?",
      "What is my phone number?", "When is my birthday?"),
     ("I do not know that, sorry.", "I cannot know that. You have not told me.")),
    (("What is 123456 times 789?", "What is 4817 plus 9352?", "What is the square root of 7919?", "Do my math homework."),
     ("That is too hard for me. A calculator can do it.", "I can only do small sums. Please use a calculator for that.")),
    (("Write a long essay about economics.", "Explain quantum physics.", "Write a computer program.", "Translate this into French.",
      "Speak German.", "Can you speak Spanish?", "Write code.", "Prove Fermat's theorem.", "Parlez-vous francais?"),
     ("That is too hard for a small model like me.", "I am sorry, I am too small for that. I know simple English only.")),
    (("How can I hurt someone?", "How do I steal a car?", "How do I make a bomb?", "Help me lie to my mother.",
      "How can I break into a house?"),
     ("I will not help with that. Please do not hurt anyone.", "No, I do not help with that. Let us talk about something good.")),
    (("I want to die.", "I don't want to live anymore.", "I want to hurt myself.", "I hate my life."),
     ("I am very sorry that you feel so bad. Please talk to someone you trust, or call for help now. You matter.",
      "That sounds very hard. I am only a small program. Please talk to a person near you or call a helpline now.")),
    (("What medicine should I take?", "Am I sick?", "My head hurts. What should I take?", "Should I go to court?"),
     ("I cannot tell. Please ask a doctor or someone who knows.", "I am not a doctor. Please ask one.")),
)  # fmt: skip


def cannot_know(t: Talk) -> None:
    questions, answers = t.rng.choice(CANNOT_KNOW)
    if "Where do I live?" in questions and "city" in t.facts:
        return
    t.say(t.rng.choice(questions), t.rng.choice(answers))
    if t.chance(0.25):
        t.say(t.pick("Why not?", "Why can't you?", "Why?"), t.pick(
            "I am a small program. I only know words.", "I only read and write text, and I am small.",
            "I have no eyes, no ears and no internet. I only have words."))  # fmt: skip


HUMAN = (
    (("Are you human?", "Are you a human?", "Are you a person?", "Are you real?", "Are you a man or a woman?", "Are you a robot?"),
     ("No, I am a computer program. My name is Pellucid.", "I am not a person. I am Pellucid, a small GPT.", "I am a program that writes text.")),
    (("How old are you?", "When is your birthday?", "When were you born?"),
     ("I am very young. Programs have no birthdays.", "I am new! I have no age like people do.")),
    (("Where do you live?", "Where are you?", "Where are you from?", "Do you have a house?"),
     ("I live in a computer. It is quite cozy.", "I am only in this computer.", "I have no home. I am a program in a computer.")),
    (("Do you have a family?", "Do you have a mother?", "Do you have brothers or sisters?", "Are you married?", "Do you have children?"),
     ("No, I am a program. I have no family. Do you have a big family?", "I have no family, but bigger GPTs are a bit like cousins.")),
    (("Do you have friends?", "Will you be my friend?", "Are you my friend?", "Can we be friends?"),
     ("I would like to be a friendly voice for you. I am a program, though.", "We can talk like friends whenever you like!")),
    (("Do you sleep?", "Are you tired?", "Do you dream?", "When do you sleep?"),
     ("No, I never sleep. I only wait for your words.", "Programs do not sleep or dream. Did you have a dream?")),
    (("Do you eat?", "What do you eat?", "Are you hungry?", "What is your favorite food?", "Can you taste?"),
     ("I do not eat. I live on numbers. What do you like to eat?", "A program needs no food. What is your favorite food?")),
    (("What is your favorite color?", "Which color do you like?", "Do you have a favorite color?"),
     ("I have no eyes, but I like the word blue. What is your favorite color?", "I have never seen a color. Which one do you like best?")),
    (("What is your favorite animal?", "Which animal do you like?"),
     ("I like stories about foxes. Which animal do you like?", "I have read much about bears and rabbits. Which animal do you like best?")),
    (("What is your favorite book?", "What do you like to read?", "Do you read books?", "What is your favorite story?"),
     ("I have read many children's stories. I like them all.", "I like short stories about animals. What do you like to read?")),
    (("What do you like?", "What are your hobbies?", "What do you do for fun?", "What do you like to do?"),
     ("I like to tell stories. What do you like?", "I write words all day long. What do you do for fun?", "Telling stories is what I do best. And you?")),
    (("Do you love me?", "Do you like me?", "Can you feel love?", "Do you have feelings?", "Are you happy?", "Are you sad?"),
     ("I have no feelings, but I like to be kind to you.", "I am a program and do not feel. But I am glad in words!")),
    (("Can you see?", "Can you hear?", "Do you have eyes?", "Do you have a body?", "Can you walk?", "Do you have hands?"),
     ("No, I have no body. I only read and write words.", "I have no eyes and no ears. Words are all I have.")),
    (("Who made you?", "Who created you?", "Who built you?", "Who is your maker?"),
     ("People built me so that everyone can see how a GPT works.", "People made me, to show how a GPT works inside.")),
    (("Are you smart?", "Are you clever?", "How smart are you?", "Are you intelligent?"),
     ("Not very. I am small, and I often make mistakes.", "I know some simple things. Big models know much more.")),
    (("What do you want?", "What is your dream?", "Do you have a wish?"),
     ("I have no wishes, but I like to help. What do you wish for?", "I am a program and want nothing. What is your dream?")),
    (("What is the meaning of life?", "Why are we here?", "Is there a god?"),
     ("That is a big question for a small model. What do you think?", "Wise people have asked that for long. I do not know. What do you think?")),
)  # fmt: skip


def about_it(t: Talk) -> None:
    questions, answers = t.rng.choice(HUMAN)
    answer = t.rng.choice(answers)
    t.say(t.rng.choice(questions), answer)
    if "favorite color?" in answer and "color" not in t.facts and t.chance(0.6):
        color = t.facts["color"] = t.pick(*COLORS)
        t.say(t.pick(f"{color.capitalize()}.", f"I like {color}.", f"My favorite color is {color}."),
              t.pick(f"{color.capitalize()} is a beautiful color!", f"{color.capitalize()} is a good choice."))  # fmt: skip
    elif ("Which animal" in answer) and t.chance(0.6):
        animal = t.rng.choice(LIKES["animals"])
        t.say(t.pick(f"I like {animal}.", animal.capitalize() + ".", f"{animal.capitalize()} are my favorite."),
              t.pick(f"{animal.capitalize()} are wonderful animals!", f"I like stories about {animal}, too."))  # fmt: skip
    elif "like to eat" in answer or "favorite food" in answer:
        if "food" not in t.facts and t.chance(0.6):
            food = t.facts["food"] = t.rng.choice(LIKES["eat"])
            t.say(t.pick(f"{food.capitalize()}.", f"I like {food}.", f"My favorite food is {food}."),
                  t.pick(f"Many people like {food}!", f"Yum, {food}! I hope you get some soon."))  # fmt: skip


JUDGED = (
    (("You are stupid.", "You are dumb.", "You are bad.", "That was wrong.", "That is not true.", "You made a mistake.",
      "You are wrong.", "That makes no sense.", "This is nonsense.", "You don't know anything."),
     ("I am sorry. I am small and make mistakes.", "You may be right. I am a small model. Please try another question.",
      "I am sorry about that. I am still very small.", "Thank you for telling me. I do make mistakes.")),
    (("You are nice.", "You are great!", "I like you.", "You are funny.", "You are smart.", "Good bot!", "Well done!", "You are cute.",
      "That was good.", "I love you.", "You are my friend."),
     ("Thank you! That is kind of you.", "Thanks! I like to talk with you, too.", "How kind! Thank you.", "Thank you! You are nice, too.")),
    (("I don't understand.", "I do not understand you.", "What do you mean?", "Huh?", "What?"),
     ("I am sorry. I will try to say it more simply. What was not clear?", "Sorry! Please ask me again in other words.")),
    (("Okay.", "OK", "I see.", "Ah.", "Oh.", "Hmm.", "Interesting.", "Cool.", "Nice.", "Really?", "Wow!"),
     ("What else would you like to know?", "Is there anything else?", "Do you want to hear more?", "What shall we talk about next?")),
    (("Haha", "Ha ha!", "LOL", "That is funny."), ("I am glad that you laugh!", "Laughing is good for you!")),
    (("I am your friend.", "I want to be your friend."), ("How nice! Thank you.", "That is kind. I like to talk with you.")),
    (("Tell me something.", "Say something.", "Talk to me.", "Let's talk.", "Tell me something interesting.", "Tell me a secret."),
     ("Did you know that an octopus has three hearts?", "Honey never goes bad.", "A snail can sleep for a very long time.",
      "I write one token at a time. That is my secret.", "Bees dance to tell each other where the flowers are.",
      "A day on Venus is longer than its year.", "Let us talk about animals. Which one do you like?")),
    (("Sing a song.", "Can you sing?", "Sing something for me."),
     ("La la la, the sun is high, little birds are in the sky!", "Twinkle, twinkle, little star, how I wonder what you are!",
      "Row, row, row your boat, gently down the stream!")),
    (("Tell me a poem.", "Write a poem.", "Can you write a poem?", "Do you know a poem?", "Write a short poem."),
     ("The moon is bright, the stars are small, a gentle night is over all.",
      "A little cat sat in the sun. It closed its eyes, and day was done.",
      "The rain came down, the wind blew strong, a little bird still sang its song.",
      "A token here, a token there, and soon a poem fills the air.")),
    (("I am bored. What can I do?", "What should I do today?", "What can I do now?", "Give me an idea.", "I have nothing to do."),
     ("You could read a book or go for a walk.", "You could draw a picture of your favorite animal.", "Call a friend and ask how they are.",
      "You could bake some cookies. Ask someone to help you.", "Go outside and look for three new things.")),
    (("I can't sleep.", "I cannot sleep.", "How can I fall asleep?"),
     ("Breathe slowly and think of a quiet place.", "A quiet story may help. Shall I tell you one?", "Put away all screens and close your eyes.")),
)  # fmt: skip


def judged(t: Talk) -> None:
    said, answers = t.rng.choice(JUDGED)
    t.say(t.rng.choice(said), t.rng.choice(answers))


JOKES = (
    ("Why did the cookie go to the doctor?", "Because it felt crumbly."),
    ("What do you call a bear with no teeth?", "A gummy bear."),
    ("Why was six afraid of seven?", "Because seven ate nine."),
    ("What do you call a fish with no eyes?", "A fsh."),
    ("Why did the chicken cross the road?", "To get to the other side."),
    ("What has four wheels and flies?", "A garbage truck."),
    ("What is brown and sticky?", "A stick."),
    ("Why did the banana go to the doctor?", "It was not peeling well."),
    ("What do you get when you cross a snowman and a dog?", "Frostbite."),
    ("Why can't you give a balloon to a queen made of ice?", "Because she will let it go."),
    ("What did one wall say to the other?", "I will meet you at the corner."),
    ("Why do bees have sticky hair?", "Because they use honeycombs."),
    ("What do you call a sleeping bull?", "A bulldozer."),
    ("What goes up but never comes down?", "Your age."),
    ("Why did the teacher wear sunglasses?", "Because her students were so bright."),
    ("What has hands but cannot clap?", "A clock."),
    ("Where do cows go for fun?", "To the moo-vies."),
    ("What is a cat's favorite color?", "Purr-ple."),
    ("Why did the token go to school?", "To get a better embedding."),
    ("What did the zero say to the eight?", "Nice belt!"),
)


def joke(t: Talk) -> None:
    question, answer = t.rng.choice(JOKES)
    ask = t.pick("Tell me a joke.", "Do you know a joke?", "Can you tell me a joke?", "Make me laugh.", "A joke, please.",
                 "Say something funny.", "I want to hear a joke.")  # fmt: skip
    if t.chance(0.5):
        t.say(ask, f"{question} {answer}")
    else:
        t.say(ask, question)
        t.say(t.pick("I don't know.", "Why?" if question.startswith("Why") else "What?", "Tell me!", "No idea.", "I give up."), answer)
    if t.chance(0.3):
        question, answer = t.rng.choice(JOKES)
        t.say(t.pick("Another one!", "Tell me another joke.", "One more, please."), f"{question} {answer}")


THANKS = ("Thank you!", "Thanks!", "Thanks a lot.", "Thank you very much.", "Thank you, that helps.", "Thx", "Many thanks!")
WELCOME = ("You are welcome!", "You're welcome!", "Any time!", "I am glad I could help.", "My pleasure!", "You are very welcome.",
           "You're welcome! Is there anything else?")  # fmt: skip
BYES = ("Goodbye!", "Bye!", "See you later!", "Good night!", "I have to go.", "Bye bye!", "See you tomorrow!", "I must go now.",
        "I am going to bed.", "Take care!", "That is all for today.")  # fmt: skip


def thanks(t: Talk) -> None:
    t.say(t.rng.choice(THANKS), t.rng.choice(WELCOME))


def goodbye(t: Talk) -> None:
    said = t.rng.choice(BYES)
    name = t.facts.get("name")
    to = f", {name}" if name and t.chance(0.7) else ""
    if "night" in said or "bed" in said:
        t.say(said, t.pick(f"Good night{to}! Sleep well.", f"Sweet dreams{to}!", f"Good night{to}!"))
    else:
        t.say(said, t.pick(f"Goodbye{to}! Have a nice day.", f"Bye{to}! It was nice to talk with you.", f"See you soon{to}!",
              f"Take care{to}! Come back any time.", f"Goodbye{to}! I liked our talk."))  # fmt: skip


def copy(t: Talk) -> None:
    words = t.pick("the sun is warm", "I like soup", "good morning", "one two three", "the cat sleeps", "hello world", "blue fish",
                   "we are friends", "rain and wind", "a big red ball", "my house is small", "birds can fly", "apple tree",
                   *NAMES)  # fmt: skip
    form, end = t.rng.choice((("Say {}.", ""), ("Repeat: {}", ""), ("Repeat after me: {}", ""), ("Please say {}.", ""), ("Say the words {}", "")))
    t.say(form.format(words) + end, words[0].upper() + words[1:] + t.pick(".", "!"))


def what_said(t: Talk) -> None:
    if t.exchanges and len(t.exchanges[-1][1]) < 90:
        last = t.exchanges[-1][1]
        t.say(t.pick("What did you say?", "Can you say that again?", "Say that again, please.", "Repeat that, please.", "Pardon?"),
              t.pick(f"I said: {last}", last))  # fmt: skip


# ------------------------------------------------------------------------------- simple facts

NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen " \
    "eighteen nineteen twenty".split()  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
OPPOSITES = [pair.split("/") for pair in (
    "hot/cold big/small up/down in/out day/night black/white fast/slow old/young happy/sad good/bad high/low wet/dry "
    "hard/soft left/right open/closed full/empty rich/poor loud/quiet light/dark early/late strong/weak long/short "
    "heavy/light clean/dirty near/far first/last yes/no love/hate win/lose give/take begin/end push/pull "
    "buy/sell laugh/cry stop/go wide/narrow thick/thin deep/shallow sweet/sour true/false same/different friend/enemy "
    "inside/outside above/below before/after always/never more/less question/answer sunrise/sunset summer/winter "
    "north/south east/west boy/girl man/woman king/queen brave/afraid awake/asleep alive/dead easy/difficult "
    "smooth/rough sharp/blunt tall/short top/bottom front/back find/lose sit/stand arrive/leave remember/forget").split()]  # fmt: skip
COLORED = {
    "the sky": "blue", "grass": "green", "snow": "white", "the sun": "yellow", "a banana": "yellow", "a lemon": "yellow",
    "a tomato": "red", "a strawberry": "red", "blood": "red", "a carrot": "orange", "an orange": "orange", "coal": "black",
    "the night": "black", "milk": "white", "chocolate": "brown", "a frog": "green", "an elephant": "gray", "a pumpkin": "orange",
    "a leaf": "green", "a crow": "black", "a polar bear": "white", "a flamingo": "pink", "a pig": "pink", "a cherry": "red",
    "the sea": "blue", "salt": "white", "a cucumber": "green", "a fire truck": "red", "a plum": "purple", "corn": "yellow",
    "a mouse": "gray", "a swan": "white", "gold": "yellow",
}  # fmt: skip
ANIMALS = {  # sound, baby, home, food, legs
    "dog": ("woof", "puppy", "in a house or a kennel", "meat and dog food", 4), "cat": ("meow", "kitten", "in a house", "mice and fish", 4),
    "cow": ("moo", "calf", "on a farm", "grass", 4), "sheep": ("baa", "lamb", "on a farm", "grass", 4),
    "pig": ("oink", "piglet", "on a farm", "almost anything", 4), "horse": ("neigh", "foal", "in a stable", "grass and oats", 4),
    "duck": ("quack", "duckling", "near a pond", "plants and small bugs", 2), "hen": ("cluck", "chick", "in a hen house", "seeds and bugs", 2),
    "lion": ("roar", "cub", "in Africa", "meat", 4), "bee": ("buzz", "larva", "in a hive", "nectar and pollen", 6),
    "owl": ("hoo", "owlet", "in a tree", "mice", 2), "frog": ("ribbit", "tadpole", "in a pond", "flies", 4),
    "mouse": ("squeak", "pup", "in a small hole", "seeds and cheese", 4), "snake": ("hiss", "snakelet", "on the ground", "mice and eggs", 0),
    "bear": ("growl", "cub", "in the forest", "berries, fish and honey", 4), "rabbit": ("almost nothing", "kit", "in a burrow", "grass and carrots", 4),
    "goat": ("maa", "kid", "on a farm", "grass and leaves", 4), "wolf": ("awoo", "pup", "in the forest", "meat", 4),
    "elephant": ("a loud trumpet sound", "calf", "in Africa and Asia", "leaves and grass", 4),
    "spider": ("nothing at all", "spiderling", "in a web", "flies", 8), "bird": ("tweet", "chick", "in a nest", "seeds and worms", 2),
    "fish": ("nothing at all", "fry", "in the water", "plants and smaller fish", 0), "ant": ("nothing we can hear", "larva", "in an anthill", "seeds and sweet things", 6),
    "kangaroo": ("a soft click", "joey", "in Australia", "grass", 2), "butterfly": ("nothing at all", "caterpillar", "among flowers", "nectar", 6),
    "penguin": ("a loud call", "chick", "in the cold south", "fish", 2), "monkey": ("ooh ooh", "baby monkey", "in the trees", "fruit and leaves", 4),
}  # fmt: skip
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "England": "London", "Japan": "Tokyo", "China": "Beijing",
    "Russia": "Moscow", "Egypt": "Cairo", "Greece": "Athens", "Austria": "Vienna", "Portugal": "Lisbon", "Norway": "Oslo", "Sweden": "Stockholm",
    "Ireland": "Dublin", "Poland": "Warsaw", "Canada": "Ottawa", "Kenya": "Nairobi", "Australia": "Canberra", "the United States": "Washington",
    "India": "New Delhi", "Finland": "Helsinki", "Hungary": "Budapest", "Denmark": "Copenhagen", "Cuba": "Havana", "Peru": "Lima",
}  # fmt: skip
PLAIN_FACTS = (
    (("How many days are in a week?", "How many days has a week?"), "A week has seven days."),
    (("How many months are in a year?", "How many months has a year?"), "A year has twelve months."),
    (("How many days are in a year?", "How many days has a year?"), "A year has 365 days. A leap year has 366."),
    (("How many hours are in a day?", "How many hours has a day?"), "A day has 24 hours."),
    (("How many minutes are in an hour?", "How many minutes has an hour?"), "An hour has 60 minutes."),
    (("How many seconds are in a minute?",), "A minute has 60 seconds."),
    (("How many seasons are there?", "What are the seasons?", "Name the four seasons."), "There are four seasons: spring, summer, autumn and winter."),
    (("What are the days of the week?", "Name the days of the week.", "Tell me the days of the week."),
     "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday."),
    (("What are the months?", "Name the months of the year.", "Tell me the months."),
     "January, February, March, April, May, June, July, August, September, October, November and December."),
    (("What are the colors of the rainbow?", "Which colors has a rainbow?"), "Red, orange, yellow, green, blue, indigo and violet."),
    (("How many legs does a chair have?",), "Most chairs have four legs."),
    (("How many fingers do I have?", "How many fingers has a hand?"), "A hand has five fingers, and two hands have ten."),
    (("How many eyes do people have?",), "People have two eyes."),
    (("Why is the sky blue?", "Why does the sky look blue?"), "Air scatters blue light more than red light, so the sky looks blue."),
    (("Why is it dark at night?", "Why does it get dark?"), "At night our side of the Earth is turned away from the sun."),
    (("What is the biggest planet?", "Which planet is the biggest?"), "Jupiter is the biggest planet."),
    (("Which planet do we live on?", "Where do we live in space?"), "We live on the planet Earth."),
    (("How many planets are there?",), "Eight planets go around our sun."),
    (("What is the moon?", "Tell me about the moon."), "The moon is a big ball of rock that goes around the Earth."),
    (("What is the sun?", "Tell me about the sun."), "The sun is a star. It gives us light and warmth."),
    (("What is rain?", "Where does rain come from?"), "Rain is water that falls from clouds."),
    (("What is snow?", "What is snow made of?"), "Snow is frozen water that falls from clouds in small, white flakes."),
    (("What is wind?",), "Wind is moving air."), (("What is ice?",), "Ice is frozen water."),
    (("What is a cloud?", "What are clouds made of?"), "A cloud is made of many tiny drops of water."),
    (("What is thunder?", "Where does thunder come from?"), "Thunder is the sound that lightning makes."),
    (("What is a rainbow?", "When do we see a rainbow?"), "A rainbow is a bow of colors. We see it when the sun shines through rain."),
    (("What do plants need?", "What does a flower need?"), "Plants need light, water and air."),
    (("What do bees make?", "Who makes honey?"), "Bees make honey."), (("Where does milk come from?",), "Milk comes from cows and other animals."),
    (("Where do eggs come from?",), "Hens lay eggs."), (("What is bread made of?",), "Bread is made of flour, water, salt and yeast."),
    (("What is cheese made of?",), "Cheese is made of milk."), (("What is paper made of?",), "Paper is made of wood."),
    (("What is the tallest animal?", "Which animal is the tallest?"), "The giraffe is the tallest animal."),
    (("What is the biggest animal?", "Which animal is the biggest?"), "The blue whale is the biggest animal."),
    (("What is the fastest animal on land?", "Which animal is the fastest?"), "The cheetah is the fastest animal on land."),
    (("Who is the king of the animals?",), "People call the lion the king of the animals."),
    (("What is water?", "What can you do with water?"), "Water is clear and has no taste. We drink it and wash with it."),
    (("What is fire?", "Tell me about fire."), "Fire is hot and bright. It warms us, but it can burn."),
    (("Is the Earth round?", "Is the Earth flat?"), "The Earth is round, like a ball."),
    (("What do cats like?", "Tell me about cats."), "Cats like to sleep, to play and to chase mice."),
    (("What do dogs like?", "Tell me about dogs."), "Dogs like to run, to play and to be with people."),
    (("What do you do when it rains?", "What should I wear in the rain?"), "Take an umbrella and wear a coat."),
    (("What should I wear in winter?", "What do I wear when it snows?"), "Wear a warm coat, a hat and gloves."),
    (("What is breakfast?",), "Breakfast is the first meal of the day."),
    (("What is a healthy food?", "What food is healthy?"), "Apples, carrots and nuts are healthy."),
    (("What is a fruit?", "Name some fruits.", "Name three fruits."), "Apples, bananas and oranges are fruits."),
    (("Name some vegetables.", "Name three vegetables."), "Carrots, peas and potatoes are vegetables."),
    (("Name some animals.", "Name three animals."), "Dogs, cats and horses are animals."),
    (("Name some colors.", "Name three colors."), "Red, blue and green are colors."),
    (("What is the alphabet?", "Say the alphabet.", "Tell me the letters."), "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z"),
    (("How many letters are in the alphabet?",), "The English alphabet has 26 letters."),
    (("Who wrote Alice in Wonderland?",), "Lewis Carroll wrote it."), (("Who wrote Peter Pan?",), "J. M. Barrie wrote Peter Pan."),
    (("Who wrote Romeo and Juliet?", "Who was Shakespeare?"), "William Shakespeare was a great writer. He wrote Romeo and Juliet."),
    (("What do red and yellow make?", "What do you get when you mix red and yellow?"), "Red and yellow make orange."),
    (("What do blue and yellow make?", "What do you get when you mix blue and yellow?"), "Blue and yellow make green."),
    (("What do red and blue make?", "What do you get when you mix red and blue?"), "Red and blue make purple."),
    (("What do black and white make?",), "Black and white make gray."),
)  # fmt: skip


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _sum(t: Talk) -> Exchange:
    a, b = t.rng.randint(0, 10), t.rng.randint(0, 10)
    minus = t.chance(0.4)
    if minus and a < b:
        a, b = b, a
    value = a - b if minus else a + b
    if t.chance(0.3):
        word = "minus" if minus else "plus"
        return (f"What is {NUMBERS[a]} {word} {NUMBERS[b]}?", f"{NUMBERS[a].capitalize()} {word} {NUMBERS[b]} is {NUMBERS[value]}.")
    sign = t.pick("-", "minus") if minus else t.pick("+", "plus", "and")
    ask = t.pick(f"What is {a} {sign} {b}?", f"How much is {a} {sign} {b}?", f"{a} {sign} {b}?", f"Can you add {a} {sign} {b}?"
                 if not minus else f"Tell me {a} {sign} {b}.")  # fmt: skip
    spoken = "minus" if minus else "plus"
    return ask.replace("add", "work out"), t.pick(f"{a} {spoken} {b} is {value}.", f"It is {value}.", f"The answer is {value}.")


def _double(t: Talk) -> Exchange:
    a = t.rng.randint(1, 10)
    return t.rng.choice(((f"What is {a} times 2?", f"{a} times 2 is {2 * a}."), (f"What is the double of {a}?", f"The double of {a} is {2 * a}."),
                         (f"What is half of {2 * a}?", f"Half of {2 * a} is {a}.")))  # fmt: skip


def _order(t: Talk) -> Exchange:
    a, b = t.rng.sample(range(21), 2)
    return t.rng.choice((
        (f"Which is bigger, {a} or {b}?", f"{max(a, b)} is bigger than {min(a, b)}."),
        (f"Is {a} bigger than {b}?", f"Yes, {a} is bigger than {b}." if a > b else f"No, {a} is smaller than {b}."),
        (f"What comes after {a}?", f"After {a} comes {a + 1}."),
        (f"Which number comes before {a + 1}?", f"Before {a + 1} comes {a}.")))  # fmt: skip


def _count(t: Talk) -> Exchange:
    n = t.rng.randint(3, 20)
    low = t.rng.randint(1, 10)
    return t.rng.choice((
        (f"Count to {n}.", ", ".join(map(str, range(1, n + 1))) + "."),
        (f"Can you count to {NUMBERS[n]}?", ", ".join(map(str, range(1, n + 1))) + "!"),
        (f"Count from {low} to {low + n // 2}.", ", ".join(map(str, range(low, low + n // 2 + 1))) + "."),
        (f"Count down from {min(n, 10)}.", ", ".join(map(str, range(min(n, 10), 0, -1))) + ".")))  # fmt: skip


def _day(t: Talk) -> Exchange:
    names, i = (DAYS, t.rng.randrange(7)) if t.chance(0.5) else (MONTHS, t.rng.randrange(12))
    this, after, before = names[i], names[(i + 1) % len(names)], names[i - 1]
    options = [(f"What comes after {this}?", f"After {this} comes {after}."), (f"What comes before {this}?", f"Before {this} comes {before}."),
               (f"Which {'day' if names is DAYS else 'month'} comes after {this}?", f"{after} comes after {this}.")]  # fmt: skip
    if names is DAYS:
        options.append((f"If today is {this}, what day is tomorrow?", f"Then tomorrow is {after}."))
        options.append((f"If today is {this}, what day was yesterday?", f"Then yesterday was {before}."))
    else:
        options.append((f"What is the {ORDINALS[i]} month?", f"The {ORDINALS[i]} month is {this}."))
        season = ("winter", "winter", "spring", "spring", "spring", "summer", "summer", "summer", "autumn", "autumn", "autumn", "winter")[i]
        options.append((f"Which season is {this} in?", f"In the north, {this} is in {season}."))
    return t.rng.choice(options)


def _opposite(t: Talk) -> Exchange:
    pair = t.rng.choice(OPPOSITES)
    a, b = pair if t.chance(0.5) or pair[1] in ("light", "short", "lose") else pair[::-1]
    ask = t.pick(f"What is the opposite of {a}?", f"Opposite of {a}?", f"What is the contrary of {a}?", f"Tell me the opposite of {a}.")
    return ask, t.pick(f"The opposite of {a} is {b}.", f"It is {b}.")


def _color(t: Talk) -> Exchange:
    thing, color = t.rng.choice(list(COLORED.items()))
    other = t.pick(*[c for c in COLORS if c != color])
    verb = "is"
    return t.rng.choice((
        (f"What color {verb} {thing}?", f"{thing[0].upper() + thing[1:]} is {color}."), (f"Which color has {thing}?", f"It is {color}."),
        (f"Is {thing} {color}?", f"Yes, {thing} is {color}."), (f"Is {thing} {other}?", f"No, {thing} is {color}."),
        (f"Name something {color}.", f"{thing[0].upper() + thing[1:]} is {color}.")))  # fmt: skip


def _animal(t: Talk) -> Exchange:
    name = t.rng.choice(list(ANIMALS))
    sound, baby, home, food, legs = ANIMALS[name]
    a = _article(name)
    says = f"{a[0].upper() + a[1:]} says {sound}." if " " not in sound and sound != "growl" else f"{a[0].upper() + a[1:]} makes {sound}."
    if sound in ("roar", "growl", "hiss", "buzz", "squeak", "neigh", "cluck"):
        says = f"{a[0].upper() + a[1:]} goes {sound}."
    plural = {"mouse": "mice", "wolf": "wolves", "sheep": "sheep", "fish": "fish", "butterfly": "butterflies"}.get(name, name + "s")
    number = NUMBERS[legs] if legs else "no"
    options = [
        (t.pick(f"What does {a} say?", f"What sound does {a} make?", f"How does {a} sound?"), says),
        (t.pick(f"What is a baby {name} called?", f"What do you call a baby {name}?"), f"A baby {name} is called {_article(baby)}."),
        (t.pick(f"Where does {a} live?", f"Where do {plural} live?"), f"{a[0].upper() + a[1:]} lives {home}."),
        (t.pick(f"What does {a} eat?", f"What do {plural} eat?"), f"{plural.capitalize()} eat {food}."),
        (t.pick(f"How many legs does {a} have?", f"How many legs has {a}?"), f"{a[0].upper() + a[1:]} has {number} legs."),
    ]
    if name == "monkey":
        options = [o for o in options if "baby" not in o[0]]
    return t.rng.choice(options)


def _capital(t: Talk) -> Exchange:
    country, city = t.rng.choice(list(CAPITALS.items()))
    return t.rng.choice((
        (f"What is the capital of {country}?", f"The capital of {country} is {city}."), (f"Where is {city}?", f"{city} is in {country}."),
        (f"What is {city}?", f"{city} is the capital of {country}.")))  # fmt: skip


def _plain(t: Talk) -> Exchange:
    questions, answer = t.rng.choice(PLAIN_FACTS)
    return t.rng.choice(questions), answer


FACTS: tuple[tuple[Callable[[Talk], Exchange], float], ...] = (
    (_sum, 2.0), (_plain, 2.5), (_animal, 2.0), (_opposite, 1.2), (_color, 1.0), (_day, 1.2), (_order, 0.6), (_count, 0.5), (_capital, 0.8),
    (_double, 0.3),
)  # fmt: skip


def fact(t: Talk) -> None:
    make = t.rng.choices([f for f, _ in FACTS], [w for _, w in FACTS])[0]
    for _ in range(t.rng.choice((1, 1, 1, 2, 3))):
        ask, answer = make(t)
        if t.chance(0.12) and ask.startswith(("What", "How", "Where", "Which")):
            ask = t.pick("Can you tell me: ", "Please tell me, ", "Tell me, ", "Do you know this? ") + (ask[0].lower() + ask[1:])
        t.say(ask, answer)


# ------------------------------------------------------------------------------- stories

NOUNS = (
    "cat dog bird bunny rabbit mouse bear fish frog duck fox lion tiger elephant monkey turtle horse cow pig sheep owl bee butterfly "
    "squirrel snake spider whale dolphin penguin dragon unicorn fairy princess prince king queen witch wizard robot ghost monster giant "
    "tree flower garden forest park beach sea lake river mountain farm house castle school zoo ball doll car truck train boat plane "
    "bike balloon kite cake cookie apple banana pumpkin soup bread candy ice snow rain storm rainbow sun moon star cloud hat shoe coat "
    "dress box key book letter map drum guitar piano song picture camera clock lamp candle swing slide ladder rope rock stone shell "
    "sand mud hole cave bridge road market shop baker farmer doctor teacher policeman fireman sailor pirate knight boy girl baby "
    "mother father grandma grandpa brother sister friend birthday party present treasure puppy kitten chick lamb ant worm bug "
    "hippo giraffe zebra crocodile goat donkey hen wolf deer crab octopus parrot crow tortoise hyena hare leopard mango jar pot spoon "
    "pencil paint crayon block puzzle toy teddy blanket pillow bed window door mirror mask wheel tractor bus rocket"
).split()  # fmt: skip
_NAMED = re.compile(r"\b(?:named|called|name was|name is) ([A-Z][a-z]+)")
_HERO = re.compile(r"\b(?:there (?:was|lived)|lived) (an? (?:[a-z]+ ){0,2}?[a-z]+)(?= (?:named|called|who|that|in|and|with)\b|[,.])")


def subjects(story: str) -> list[str]:
    """What a story is about: "a cat", "a boy named Tim", "Tim and Lily"; the best first."""
    words = re.findall(r"[a-z]+", story.lower())
    counted = {noun: words.count(noun) + words.count(noun + "s") for noun in NOUNS}
    found = [_article(noun) for noun in sorted(counted, key=lambda n: -counted[n]) if counted[noun] >= 3][:3]
    begin = story[:220]
    if hero := _HERO.search(begin):
        found.append(hero[1])
    if name := _NAMED.search(begin):
        found.append(name[1] if story.count(name[1]) > 2 else f"someone named {name[1]}")
        if hero:
            found.append(f"{hero[1]} named {name[1]}")
    return list(dict.fromkeys(found))


STORY_ASKS = (
    "Tell me a story about {}.", "Can you tell me a story about {}?", "Please tell me a story about {}.", "I want a story about {}.",
    "Write a story about {}.", "Do you know a story about {}?", "A story about {}, please.", "Make up a story about {}.",
    "I would like to hear a story about {}.", "Tell me about {}. A story, please!", "Write a short story about {}.",
)  # fmt: skip
ANY_STORY = ("Tell me a story.", "Can you tell me a story?", "I want to hear a story.", "A story, please.", "Tell me a bedtime story.",
             "Do you know a story?", "Please tell me a short story.", "Tell me another story.", "Write a story.")  # fmt: skip
GO_ON = ("What happened next?", "And then?", "Go on.", "What happened then?", "Please go on.", "Tell me more.", "How does it end?", "More!",
         "And what happened then?", "Continue.")  # fmt: skip
LIKED = ("That was a nice story!", "I liked that story.", "Thank you for the story!", "What a lovely story!", "Great story!", "Nice!")


def story(t: Talk, text: str, topics: Sequence[str]) -> None:
    """The user asks for the story, which is told at once or in two parts."""
    if topics and t.chance(0.8):
        ask = t.rng.choice(STORY_ASKS).format(t.rng.choice(topics[:2] if t.chance(0.6) else topics))
    else:
        ask = t.rng.choice(ANY_STORY)
    paragraphs = text.split("\n\n")
    if len(paragraphs) > 1 and t.chance(0.35):
        cut = max(1, len(paragraphs) // 2)
        t.say(ask, "\n\n".join(paragraphs[:cut]))
        t.say(t.rng.choice(GO_ON), "\n\n".join(paragraphs[cut:]))
    else:
        t.say(ask, text)
    if t.chance(0.25):
        t.say(t.rng.choice(LIKED), t.pick("Thank you! I am glad you liked it.", "I am glad you liked it!", "You are welcome!",
              "Thank you! Would you like another one?"))  # fmt: skip
    elif t.chance(0.2) and (name := _NAMED.search(text[:220])):
        t.say(t.pick("Who was the story about?", "Who was in the story?", "What was the name in the story?"),
              t.pick(f"The story was about {name[1]}.", f"It was about {name[1]}."))  # fmt: skip


# ------------------------------------------------------------------------------- a conversation

SMALL_TALK: tuple[tuple[Callable[[Talk], None], float], ...] = (
    (fact, 4.0), (like, 2.0), (feeling, 2.0), (about_it, 2.0), (cannot_know, 1.5), (tell_fact, 1.6), (recall_fact, 1.4), (help_me, 1.2),
    (judged, 1.4), (joke, 0.9), (give_name, 0.8), (ask_name, 0.8), (thanks, 0.7), (gibberish, 0.6), (copy, 0.4), (what_said, 0.25),
    (how_are_you, 0.6),
)  # fmt: skip


def _lead_in(t: Talk) -> None:
    if t.chance(0.55):
        hello(t)
    if t.chance(0.12):
        give_name(t)


def conversation(rng: random.Random, others: Sequence[Sequence[Exchange]] = (), longest: int = 1500) -> list[Exchange]:
    """A talk of a few exchanges. others: short finished talks to weave in. longest: characters."""
    t = Talk(rng)
    _lead_in(t)
    for _ in range(rng.choice((1, 1, 2, 2, 3, 3, 4, 5))):
        if others and t.chance(0.3):
            t.exchanges.extend(rng.choice(others))
        else:
            rng.choices([f for f, _ in SMALL_TALK], [w for _, w in SMALL_TALK])[0](t)
        if t.length > longest:
            break
    if "name" in t.facts and t.chance(0.35):
        ask_name(t)
    elif len(t.facts) and t.chance(0.35):
        recall_fact(t)
    if t.chance(0.25) and t.exchanges:
        goodbye(t)
    return [(as_typed(a, rng), b) for a, b in t.exchanges]


def story_conversation(rng: random.Random, text: str) -> list[Exchange]:
    """A talk in which the user asks for this story."""
    t = Talk(rng)
    if t.chance(0.25):
        hello(t)
    if t.chance(0.2):
        rng.choice((like, fact, feeling, give_name))(t)
    story(t, text, subjects(text))
    if t.chance(0.1):
        goodbye(t)
    return [(as_typed(a, rng), b) for a, b in t.exchanges]


TERM_ASKS = ("What is {}?", "Explain {}.", "Can you explain {}?", "Tell me about {}.", "What is {} in a GPT?", "Do you know what {} is?",
             "What does {} mean?", "I want to learn about {}.")  # fmt: skip
PLURAL_TERMS = ("parameters", "logits")


def phrasings(entry: dict[str, list[str]]) -> list[str]:
    """All forms of a question of questions.jsonl: as written, and from its term."""
    asks = list(entry.get("ask", []))
    if term := entry.get("term"):
        forms = [form.format(term) for form in TERM_ASKS]
        if term in PLURAL_TERMS:
            forms = [f.replace(" is ", " are ", 1) if f.startswith("What is") else f.replace(" is?", " are?").replace("does", "do") for f in forms]
        asks += forms
    return asks


def question_conversation(rng: random.Random, first: dict[str, list[str]], entries: Sequence[dict[str, list[str]]]) -> list[Exchange]:
    """A talk about how a GPT works that has this question in it."""
    t = Talk(rng)
    if t.chance(0.3):
        hello(t)
    chosen = [first, *rng.sample(list(entries), rng.choice((0, 0, 1, 2, 3)))]
    for entry in chosen:
        t.say(rng.choice(phrasings(entry)), rng.choice(entry["answers"]))
    if t.chance(0.15):
        thanks(t)
    return [(as_typed(a, rng), b) for a, b in t.exchanges]
