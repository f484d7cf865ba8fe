"""What callers say in the two sets. A pause is written [0.8] in seconds, or [~] to be drawn (see speech.py)."""

#: Plain turns: one breath, an end that can be heard.
PLAIN = (
    "My trash was not picked up this morning.",
    "Can you send somebody tomorrow?",
    "I would like to report a broken street light.",
    "The recycling bin is still full.",
    "What time does the truck come?",
    "There is a pothole in front of my house.",
    "Do I have to pay for that?",
    "Please send me a text message.",
    "It happened again last Thursday.",
    "The truck drove right past our house.",
    "I already called about this yesterday.",
    "Could you tell me when the office opens?",
)
#: Turns with a pause in which the caller is not finished.
PAUSED = (
    "I am calling because [~] nobody picked up our trash today.",
    "The bins are [~] still standing at the curb.",
    "We put them out on Tuesday [~] but the truck never came.",
    "I think it was [~] Thursday morning around nine.",
    "Could you please [~] send somebody to look at it?",
    "My neighbor told me that [~] the schedule has changed this week.",
    "It is the second time [~] this month [~] that they skipped us.",
    "There is a big branch [~] on the sidewalk in front of the school.",
    "I need to know if [~] the holiday changes the pickup.",
    "The light on the corner [~] has been out since Sunday.",
    "Yes. [~] But I also have a question about the recycling.",
    "So the truck comes tomorrow [~] between eight and noon?",
)
SHORT = ("Yes.", "No.", "Yes, please.", "Okay.", "That's right.", "Sure.", "No, thank you.", "Tomorrow.")
#: Numbers, letters and addresses, spoken in groups.
SPELLED = (
    "It is five five five, [0.4] zero one four, [0.5] two nine three seven.",
    "My account number is four seven [0.6] one nine [0.5] eight two.",
    "That is spelled M [0.3] A [0.3] R [0.3] L [0.3] O [0.3] W.",
    "The zip code is nine four [0.7] one one zero.",
    "The number is two zero two, [0.6] five five five, [0.8] zero one nine eight.",
    "My house number is [0.9] twelve forty six.",
)
HESITANT = (
    "Um, [0.7] my address is [1.0] 12 Oak Street.",
    "Well, [0.5] I am not sure, [0.8] I think it was Monday.",
    "Uh, [0.6] let me think, [1.2] the blue one.",
    "So, um, [0.9] it is about the trash.",
    "I, uh, [0.5] I wanted to ask about [1.4] the recycling.",
    "It is, um, [1.8] Maple Avenue.",
)
WAITS = (
    "Hold on, let me look.",
    "One moment, please.",
    "Wait a second, I have to find it.",
    "Just a moment, let me check.",
    "Give me a second.",
)
#: What follows a wait.
FOUND = (
    "Okay, it is number forty two.",
    "Here it is, the account ends in nineteen.",
    "It says Tuesday on the letter.",
    "I found it, it is Oak Street.",
)
#: Turns whose scripted answer is long.
QUESTIONS = (
    "Can you explain how the collection works?",
    "What are the rules for large items?",
    "Tell me about the recycling schedule.",
    "How do I get rid of an old sofa?",
    "What happens on holidays?",
)
INTERRUPTIONS = (
    "Sorry, I meant the recycling, not the trash.",
    "Wait, what about the old sofa?",
    "No, that's not what I asked.",
    "Excuse me, can I ask something else?",
    "Stop, I only need the phone number.",
    "Actually, I have to go. Can you text me that?",
)
BACKCHANNELS = ("Mm-hm.", "Uh-huh.", "Yeah.", "Okay.", "Right.", "I see.")
#: To somebody else in the room, so quieter than to the agent.
SIDE_TALK = ("Honey, close the door.", "Not now, I am on the phone.", "Just put it over there.")
SOUNDS = ("cough", "door", "keyboard", "click", "babble")

#: How the scripted agent begins: mostly with a few words that come again and again (the audio cache has them then),
#: else with a clause that is new in each call. No number, day or time: dialogue would look for it in what it knows.
OPENERS = (
    *("Okay,", "Sure,", "Alright,", "Of course,", "I see,", "Got it,", "No problem,", "Thank you,", "Certainly,"),
    *("All right then,", "Yes of course,", "That is fine,", "Very well,", "Let me see,", "Good to know,"),
)
NEW_BEGINNING = "The {} {},"
NEW_SHARE = 0.3
HOW = (
    *("broken", "missing", "yellow", "wooden", "heavy", "little", "narrow", "public", "rusty", "northern", "painted"),
    *("crooked", "overflowing", "blocked", "slippery", "abandoned", "noisy", "corner", "concrete", "purple", "leaking"),
)
WHAT = (
    *("bench", "hydrant", "container", "mattress", "sidewalk", "crossing", "playground", "lamp", "fence", "gutter"),
    *("tree", "sign", "barrel", "window", "railing", "staircase", "manhole", "basket", "driveway", "antenna", "sofa"),
)
SHORT_ANSWERS = (
    "a truck will come to your house.",
    "I have written that down.",
    "somebody will see to it.",
    "that is everything I need.",
)
LONG_ANSWERS = (
    "the regular collection on your street is always early in the day, and the recycling follows when the big "
    "trucks have left your part of the city and come back from the plant.",
    "large furniture needs an appointment, you leave it at the curb the night before, and a special truck "
    "takes everything away while the crew looks after the smaller things.",
)

#: The 311 call, one tuple for each part of it; callers draw a wording.
CITY = (
    (
        "Yes, that's right. Nobody came by this morning.",
        "Yes. [~] They skipped our house today.",
        "Yeah, [~] my trash is still sitting on the curb.",
        "That's correct, [~] they missed us today.",
        "Yes I am. The truck never showed up.",
        "Um, yes, [0.7] the trash was not picked up.",
    ),
    (
        "Yes, please send a truck.",
        "Sure, [~] go ahead and book it.",
        "Tomorrow is fine. [~] Please book it.",
        "That would be great, yes.",
        "Yes, please.",
        "Okay, [~] send the truck tomorrow.",
    ),
    (
        "Yes, text me the confirmation.",
        "Please send me a text.",
        "Can I get that [~] in a text message?",
        "Yes, [~] a text would be helpful.",
        "Yes.",
        "Sure, [0.5] text it to me.",
    ),
    (
        "Do I have to pay for that?",
        "When is the truck [~] coming again?",
        "What time will they be here?",
        "And, um, [0.8] is there a charge for this?",
        "There is also a big pothole [~] in front of my house.",
        "Hold on, [1.0] what time will they come?",
    ),
    (
        "No, that's all. Thank you, goodbye.",
        "That's everything. [~] Thanks, bye.",
        "Great, that's all I needed. Goodbye.",
        "No, nothing else. Have a nice day.",
    ),
)
