"""A sentence or two from the attributes of CelebV-HQ, whose names are the keys of the tables here.

    A young woman with long wavy black hair and bangs, wearing earrings, is smiling and talking. She looks neutral, then
    happy.

`blurry` and `no_beard` are not said, nor are attributes that the tables lack.
"""

from collections.abc import Collection, Mapping, Sequence

_KINDS = {"young": "young", "chubby": "chubby"}
_HAIR = {
    "long_hair": "long",
    "straight_hair": "straight",
    "wavy_hair": "wavy",
    "black_hair": "black",
    "blonde_hair": "blonde",
    "gray_hair": "gray",
    "brown_hair": "brown",
}
_WITH = {
    "bangs": "bangs",
    "bald": "a bald head",
    "receding_hairline": "a receding hairline",
    "pale_skin": "pale skin",
    "rosy_cheeks": "rosy cheeks",
    "oval_face": "an oval face",
    "arched_eyebrows": "arched eyebrows",
    "bushy_eyebrows": "bushy eyebrows",
    "bags_under_eyes": "bags under the eyes",
    "narrow_eyes": "narrow eyes",
    "big_nose": "a big nose",
    "pointy_nose": "a pointy nose",
    "high_cheekbones": "high cheekbones",
    "big_lips": "big lips",
    "double_chin": "a double chin",
    "5_o_clock_shadow": "stubble",
    "goatee": "a goatee",
    "mustache": "a mustache",
    "sideburns": "sideburns",
}
_WEARING = {
    "eyeglasses": "eyeglasses",
    "sunglasses": "sunglasses",
    "heavy_makeup": "heavy makeup",
    "wearing_earrings": "earrings",
    "wearing_hat": "a hat",
    "wearing_lipstick": "lipstick",
    "wearing_necklace": "a necklace",
    "wearing_necktie": "a necktie",
    "wearing_mask": "a mask",
}
_DOING = {
    "blow": "blowing",
    "chew": "chewing",
    "close_eyes": "closing the eyes",
    "cough": "coughing",
    "cry": "crying",
    "drink": "drinking",
    "eat": "eating",
    "frown": "frowning",
    "gaze": "gazing",
    "glare": "glaring",
    "head_wagging": "wagging the head",
    "kiss": "kissing",
    "laugh": "laughing",
    "listen_to_music": "listening to music",
    "look_around": "looking around",
    "make_a_face": "making a face",
    "nod": "nodding",
    "play_instrument": "playing an instrument",
    "read": "reading",
    "shake_head": "shaking the head",
    "shout": "shouting",
    "sigh": "sighing",
    "sing": "singing",
    "sleep": "sleeping",
    "smile": "smiling",
    "smoke": "smoking",
    "sneer": "sneering",
    "sneeze": "sneezing",
    "sniff": "sniffing",
    "talk": "talking",
    "turn": "turning the head",
    "weep": "weeping",
    "whisper": "whispering",
    "wink": "winking",
    "yawn": "yawning",
}
_FEELING = {
    "neutral": "neutral",
    "happy": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "afraid",
    "surprise": "surprised",
    "contempt": "contemptuous",
    "disgust": "disgusted",
}


def caption(looks: Collection[str], does: Collection[str], feels: Sequence[str]) -> str:
    """Names of appearances and actions that are set, and emotions in their order -> what a caption would say."""
    person, pronoun = ("man", "He") if "male" in looks else ("woman", "She")
    text = " ".join(["A", *_said(_KINDS, looks), person])
    hair = [" ".join([*said, "hair"])] if (said := _said(_HAIR, looks)) else []
    if features := [*hair, *_said(_WITH, looks)]:
        text += f" with {_listed(features)}"
    if things := _said(_WEARING, looks):
        text += f", wearing {_listed(things)},"
    text = f"{text} is {_listed(_said(_DOING, does) or ['facing the camera'])}."
    feelings = [_FEELING[name] for name in feels if name in _FEELING]
    changes = [name for i, name in enumerate(feelings) if i == 0 or name != feelings[i - 1]]
    return f"{text} {pronoun} looks {', then '.join(changes)}." if changes else text


def _said(words: Mapping[str, str], names: Collection[str]) -> list[str]:
    return [word for name, word in words.items() if name in names]


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
