// Conversations as callers write them, checked, in the form that the worker takes.
import { HomefireError } from "./errors.js";
import type { Conversation } from "./messages.js";
import type { Message } from "./types.js";

function refuse(what: string, came: unknown): never {
  throw new HomefireError(
    "invalid-input",
    `${what} is ${shown(came)?.slice(0, 80)}. Messages are an array of { role, content }, content is a text or parts { type: "text", text }; templateVariables an object.`,
  );
}

function shown(came: unknown): string | undefined {
  try {
    return JSON.stringify(came);
  } catch {
    return String(came);
  }
}

/** Messages, and variables for the chat template. */
export function conversation(messages: readonly Message[], variables: Record<string, unknown> = {}): Conversation {
  if (!Array.isArray(messages)) refuse("messages", messages);
  if (typeof variables !== "object" || !variables || Array.isArray(variables)) refuse("templateVariables", variables);
  return {
    messages: messages.map((message: Message | null, i) => {
      if (typeof message?.role !== "string") refuse(`messages[${i}]`, message);
      return { ...message, role: message.role, content: contentOf(message, `messages[${i}].content`) };
    }),
    variables,
  };
}

function contentOf(message: Message, at: string): unknown {
  const content: unknown = message.content;
  if (typeof content === "string") return content;
  // Who calls tools need not say anything, and what a tool says need not be a text: templates know.
  if (content == null ? "tool_calls" in message : message.role === "tool" && !Array.isArray(content)) return content;
  if (!Array.isArray(content)) refuse(at, content);
  return content.map((part, i) => (part?.type === "text" && typeof part.text === "string" ? part.text : refuse(`${at}[${i}]`, part))).join("");
}
