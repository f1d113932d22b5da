// Conversations as callers write them, checked, in the form that the worker takes.
import { HomefireError } from "./errors.js";
import type { Conversation } from "./messages.js";
import type { Message } from "./types.js";

function refuse(what: string, came: unknown): never {
  throw new HomefireError(
    "invalid-input",
    `${what} is ${JSON.stringify(came)?.slice(0, 80)}. Messages are an array of { role, content }, where content is a text or parts { type: "text", text }; ` +
      "templateVariables is an object.",
  );
}

/** Messages, and variables for the chat template. */
export function conversation(messages: readonly Message[], variables: Record<string, unknown> = {}): Conversation {
  if (!Array.isArray(messages)) refuse("messages", messages);
  if (typeof variables !== "object" || !variables || Array.isArray(variables)) refuse("templateVariables", variables);
  return {
    messages: messages.map((message: Message | null, i) => {
      if (typeof message?.role !== "string") refuse(`messages[${i}]`, message);
      return { ...message, content: textOf(message, `messages[${i}].content`) };
    }),
    variables,
  };
}

function textOf(message: Message, at: string): string {
  const content: unknown = message.content;
  if (typeof content === "string") return content;
  // Who calls tools need not say anything.
  if (content == null && "tool_calls" in message) return "";
  if (!Array.isArray(content)) refuse(at, content);
  return content.map((part, i) => (part?.type === "text" && typeof part.text === "string" ? part.text : refuse(`${at}[${i}]`, part))).join("");
}
