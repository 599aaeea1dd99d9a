"""The texts that tokenizers are compared on: written by hand, and random mixtures of hard pieces (fixed seed)."""
import random

HAND = [
    "Hello world", "Hello, world!", " leading space", "trailing space ", "  two  spaces  ", "\ttab\tbetween\t", "\n", "\n\n", "\r\n",
    "line one\nline two\n\nline four\n", "a\r\nb\r\n\r\nc", "x \n y", "x  \n  \n   y", "   ", " ", "\t", "\t\t  \n \t x", "a" * 40, "ab" * 50,
    "don't can't I'll we've you're he'd I'm it's", "DON'T CAN'T I'LL WE'VE YOU'RE HE'D I'M IT'S", "'s 't 're", "rock 'n' roll", "o'clock d'accord",
    "0", "12", "123", "1234", "1234567890", "3.14159", "1,234,567.89", "1e-10", "0xDEADBEEF", "x1y22z333", "٣٤٥", "１２３", "Ⅷ ½ ²", "10²³",
    "The quick brown fox jumps over the lazy dog.", "To be, or not to be: that is the question.", "The history of bread begins",
    "naïve café résumé Zoë", "Ünïcödé ÄÖÜ ß ẞ", "Ελληνικά γλώσσα", "Русский язык, ещё раз", "עברית שפה", "العربية لغة", "हिन्दी भाषा", "ภาษาไทย", "ქართული",
    "বাংলা ভাষা", "Tiếng Việt", "日本語のテキストです。", "東京タワー", "カタカナ ひらがな", "中文分词测试", "我爱北京天安门，天安门上太阳升。", "中文 English 混合 text 123", "한국어 텍스트입니다",
    "繁體中文字", "（全角）！？：；“引号”‘单’—…", "　全角空格　", "🙂", "👩‍👩‍👧‍👦 family", "🇩🇪🇯🇵", "a🙂b🙂🙂c", "👍🏽 thumbs", "❤️ ✨ ☃", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "e\u0301 combining", "\u200bzero\u200bwidth", "\u00a0nbsp\u00a0", "a\u2028b\u2029c", "\ufeffbom",
    "fn main() { println!(\"{}\", 1 + 2); }", "if (a && b || !c) {\n    return a[0]->b.c;\n}\n", "def f(x):\n\treturn x ** 2\n\n\nclass A:\n    pass\n", "for (int i = 0; i < 10; ++i)", "<html><body class=\"x\">&nbsp;</body></html>",
    "SELECT * FROM t WHERE a = 'b' -- comment", "https://example.org/a/b?c=d&e=f#g", "user@example.org", "C:\\Users\\x\\y.txt", "$HOME/.config/*.toml", "{\"a\": [1, 2, {\"b\": null}]}", "a_b__c___d", "--flag=value", "#include <stdio.h>", "/* c */ // d",
    "!@#$%^&*()_+-=[]{}|;':\",./<>?`~", "...", "…", "--- ---", "====", "!!!!!!!!", "?!?!", "(((())))", "a.b.c.d", "x=y+z;", "€ £ ¥ ₿ ¢", "±×÷≠≤≥∞∑∏√∫", "←↑→↓⇒", "■□▪▫●○", "┌─┐│└─┘",
    "camelCase PascalCase snake_case SCREAMING_CASE", "iPhone McDonald HTTPServer", "supercalifragilisticexpialidocious", "antidisestablishmentarianism", "AAAAaaaaBBBBbbbb",
    "<s>", "</s>", "<|im_start|>user\nHi<|im_end|>", "<|endoftext|>", "<｜User｜>Hi<｜Assistant｜>", "<think>", "</think>", "[INST] x [/INST]", "<unk>", "<0x0A>", "▁", "Ġ", "<｜begin▁of▁sentence｜>",
    "1\n2\n3", "a\n\n\n\nb", "    indented\n        more\n    back", "word " * 12, "\\n \\t \\\\", "\"quoted\" 'single' `back`", "e.g. i.e. etc.", "A.B.C.", "Mr. O'Neil-Smith, Ph.D.", "50% off! #1 @home", "3:45pm 2024-12-31T23:59:59Z", "H₂O CO₂ x² a₁", "ﬁ ﬂ ligature", "ſ long s 'ſ", "İstanbul ıI", "ǅ ǈ titlecase", "ㄅㄆㄇ ㄱㄴㄷ", "、。〈〉《》", "︰﹏", "\u0000nul", "\u007fdel \u0085nel", "\U000e0001tag", "\U0010fffdplane16", "ÿþ",
]

PIECES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "a", "The", " the", "ing", "'s", "'LL", "é", "ß", "я", "中", "日本", "か", "한", "🙂", "👩‍", "\u0301", "1", "22", "4567", "½", ".", "...", "!?", "(", ")", "-", "_", "/", "\\", "<", ">", "|", "{", "}", "\"", "$", "%", "&&", "＃", "。", "，", "x=1", "Foo", "BAR", "ñandú", "\u00a0", "\u3000", "İ", "٣"]


def texts():
    rng = random.Random(20241)
    mixed = ["".join(rng.choice(PIECES) for _ in range(rng.randint(2, 24))) for _ in range(120)]
    return HAND + mixed
