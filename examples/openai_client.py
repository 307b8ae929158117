"""The same with the official Python client. For reading: it is not run by our tests.

    pip install openai
    OPENAI_BASE_URL=http://127.0.0.1:8181/v1 OPENAI_API_KEY=csk_... python examples/openai_client.py
"""

from openai import OpenAI

client = OpenAI()
answer = client.chat.completions.create(
    model="kjv-1m",
    messages=[{"role": "user", "content": "Who was Moses?"}],
    max_completion_tokens=16,
    extra_body={"countersign": {"attestation": {"recompute": 1}}},
)
print(answer.choices[0].message.content)
print(answer.model_extra["countersign"])
