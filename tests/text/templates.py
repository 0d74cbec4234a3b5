"""Small chat templates of our own, each with a habit of real ones."""

from __future__ import annotations

from tests.miniature import TEMPLATE

CHATML = TEMPLATE
"""Writes every role and every text as it is."""
USUAL_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Inserts a system turn where there is none, as Qwen2.5 does."""
TRIMMING = (
    "{{ bos_token }}{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{{ turn['content'] | trim }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Trims every text, as Llama 3 does."""
FORGETFUL = (
    "{% for turn in messages %}{% set text = turn.content %}{% if turn.role == 'assistant' and '</think>' in text %}"
    "{% set text = text.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>{{ turn.role }}\n{{ text }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""Drops what an assistant thought, and takes enable_thinking, as Qwen3 does."""
ALTERNATING = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for turn in messages %}{% if (turn.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|im_start|>{{ 'model' if turn.role == 'assistant' else turn.role }}\n{{ turn.content | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
"""Takes no system turn, and users and assistants in turns only, as Gemma does."""
LATE_SYSTEM = (
    "{{ bos_token }}{% set system = messages[0].content if messages[0].role == 'system' else none %}"
    "{% for turn in messages %}{% if turn.role == 'user' %}<|im_start|>{% if loop.last and system is not none %}"
    "{{ system }}\n\n{% endif %}{{ turn.content }}<|im_end|>{% elif turn.role == 'assistant' %}"
    "{{ turn.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
"""Writes the system text into the last human turn, as Mistral does."""
DROPPING = "{% for turn in messages if turn.role != 'system' %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}"
"""Leaves system turns out without a word."""
REACTING = (
    "{% set quiet = messages[0].role == 'system' and '/quiet' in messages[0].content %}"
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content | replace('/quiet', '') }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% if quiet %}<eos>{% endif %}{% endif %}"
)
"""Ends otherwise after some system texts, as SmolLM3's does after "/no_think"."""
REWRITING = TEMPLATE.replace("message['content']", "message['content'] | replace('!', '<eos>')")
"""Writes a control token into a text."""
DATED = TEMPLATE.replace("{{ bos_token }}", "{{ bos_token }}Day: {{ strftime_now('%d %b %Y') }}\n")
"""Writes the day it is rendered on."""
DATED_BY_DEFAULT = (
    "{% if date_string is not defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{{ bos_token }}Day: {{ date_string }}\n" + TEMPLATE.removeprefix("{{ bos_token }}")
)
"""Writes a day of its own unless it is given one, as Llama 3.1 does; 3.2 and 3.3 do both."""
