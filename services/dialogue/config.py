"""Settings of the dialogue service: HALFBEAT_DIALOGUE_* in the environment, or [dialogue] in the file."""

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from halfbeat.settings import ServiceSettings


class DialogueSettings(ServiceSettings):
    """The dialogue service."""

    service: ClassVar[str] = "dialogue"

    app: str = Field("apps.city311", description="Application: module with an attribute `app`.")
    engine: Literal["openai", "scripted"] = Field(
        "openai", description="openai (any server with that API), scripted (exact timing, for tests)."
    )
    llm_url: str = Field("http://127.0.0.1:8081/v1", description="Base URL of the language model's server.")
    llm_model: str = Field("default", description="Name the server knows the model by; llama.cpp ignores it.")
    llm_api_key: SecretStr = Field(SecretStr("none"), description="Sent as bearer token.")
    dialect: Literal["compact", "native", "structured"] = Field(
        "compact",
        description="How the model says that it calls a tool: compact (one label, llama.cpp grammar, for small"
        " models), native (tool calls: vLLM, hosted), structured (JSON schema).",
    )
    prefill: Literal["empty", "one-token", "off"] = Field(
        "empty", description="How the prompt is read ahead: asking for no token (llama.cpp), for one (vLLM), or not."
    )
    slots: int = Field(8, ge=1, description="Sessions at a time; one more is refused as at capacity.")
    max_answer_tokens: int = Field(60, ge=1, description="Longest answer, unless the session says otherwise.")
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="0 takes the likeliest token.")
    tool_rounds: int = Field(3, ge=1, description="Rounds of tools in one answer; compact has one.")
    first_token_s: float = Field(8.0, gt=0, description="Longest wait for the first token, in seconds.")
    gap_s: float = Field(4.0, gt=0, description="Longest wait between tokens, in seconds.")
    draft_tokens: int = Field(
        32, ge=1, description="Tokens of an answer to an uncommitted turn, once its first clause is there."
    )
    opener_ms: int = Field(
        120,
        ge=0,
        description="Without a first clause, an opener is said when so much of the turn's budget is left, in ms:"
        " what it takes from there to the caller's ear.",
    )
    filler_after_s: float = Field(0.7, gt=0, description="A tool that takes longer gets its filler spoken.")
    client_tool_s: float = Field(20.0, gt=0, description="Longest wait for a tool that the client runs.")
    state_ttl_s: float = Field(900.0, gt=0, description="How long a session's stored state outlives its last change.")
    llama_model: str = Field(
        "qwen2.5-coder-1.5b-instruct-q4_k_m",
        description="Bundled server only: GGUF file, or a name of the catalogue (`halfbeat models list`).",
    )
    llama_threads: int = Field(0, ge=0, description="Bundled server only: threads; 0 for two, or one on a single core.")
    llama_context: int = Field(2048, ge=512, description="Bundled server only: tokens of context of each slot.")
    llama_slots: int = Field(1, ge=1, description="Bundled server only: answers made at the same time.")
    scripted_first_token_ms: float = Field(120.0, ge=0, description="scripted only: prompt to first token.")
    scripted_token_ms: float = Field(15.0, ge=0, description="scripted only: from token to token.")
