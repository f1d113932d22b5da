// A safe subset of Markdown, built as DOM nodes: text from a model never becomes markup.
//
// `parseBlocks` cuts the text into blocks (paragraph, heading, list, code), in time linear in its length. `BlockView`
// shows a text that grows: blocks whose source is unchanged keep their nodes, so a streamed answer rebuilds only its
// last block, and a selection in an earlier one stays.

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.+?)\s*#*$/;
const BULLET = /^(\s*)[-*+]\s+(.*)$/;
const NUMBERED = /^(\s*)(\d{1,9})[.)]\s+(.*)$/;

/**
 * The blocks of a text: `{ kind, source, … }`, where `source` is what the block was read from.
 * @param {string} text
 * @returns {{ kind: string, source: string, [key: string]: unknown }[]}
 */
export function parseBlocks(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const blocks = [];
  let at = 0;
  const take = (from, block) => blocks.push({ ...block, source: lines.slice(from, at).join("\n") });
  while (at < lines.length) {
    const from = at;
    const line = lines[at];
    if (line.trim() === "") { at += 1; continue; }
    const fence = FENCE.exec(line);
    if (fence) {
      at += 1;
      const body = [];
      const closed = () => {
        const trimmed = lines[at].trim();
        return trimmed.length >= fence[1].length && trimmed === fence[1][0].repeat(trimmed.length);
      };
      while (at < lines.length && !closed()) body.push(lines[at++]);
      at += 1;
      take(from, { kind: "code", language: fence[2], code: body.join("\n") });
      continue;
    }
    const heading = HEADING.exec(line);
    if (heading) {
      at += 1;
      take(from, { kind: "heading", text: heading[2] });
      continue;
    }
    if (BULLET.test(line) || NUMBERED.test(line)) {
      const items = [];
      while (at < lines.length) {
        const item = listItem(lines[at]);
        if (item) items.push(item);
        else if (lines[at].trim() === "" && at + 1 < lines.length && listItem(lines[at + 1])) { /* a loose list */ }
        else if (/^\s{2,}\S/.test(lines[at]) && items.length) items.at(-1).text += `\n${lines[at].trim()}`;
        else break;
        at += 1;
      }
      take(from, { kind: "list", items });
      continue;
    }
    const body = [];
    while (at < lines.length && lines[at].trim() !== "" && !(at > from && startsBlock(lines[at]))) body.push(lines[at++]);
    take(from, { kind: "paragraph", text: body.join("\n") });
  }
  return blocks;
}

function startsBlock(line) {
  return FENCE.test(line) || HEADING.test(line) || listItem(line) !== null;
}

function listItem(line) {
  const bullet = BULLET.exec(line);
  if (bullet) return { indent: bullet[1].length, ordered: false, start: 1, text: bullet[2] };
  const numbered = NUMBERED.exec(line);
  if (numbered) return { indent: numbered[1].length, ordered: true, start: Number(numbered[2]), text: numbered[3] };
  return null;
}

/** Appends `text` to `parent`, with inline code, bold and italics as elements. */
function appendInline(parent, text) {
  const inline = /`([^`\n]+)`|\*\*(?=\S)([^\n]+?)\*\*|(?<![\w*])\*(?=[^\s*])([^*\n]+?)\*(?![\w*])/g;
  let from = 0;
  for (const match of text.matchAll(inline)) {
    parent.append(text.slice(from, match.index));
    const [, code, bold, italic] = match;
    const element = document.createElement(code !== undefined ? "code" : bold !== undefined ? "strong" : "em");
    if (code !== undefined) element.textContent = code;
    else element.append(...inlineNodes(bold ?? italic));
    parent.append(element);
    from = match.index + match[0].length;
  }
  parent.append(text.slice(from));
}

function inlineNodes(text) {
  const holder = document.createDocumentFragment();
  appendInline(holder, text);
  return holder.childNodes;
}

/** A list of items, nested where an item is indented further than the one before. */
function listElement(items) {
  const root = { element: newList(items[0]), indent: items[0].indent };
  const open = [root];
  for (const item of items) {
    while (open.length > 1 && item.indent < open.at(-1).indent) open.pop();
    const last = open.at(-1);
    if (item.indent >= last.indent + 2 && last.element.lastElementChild && open.length < 5) {
      const inner = { element: newList(item), indent: item.indent };
      last.element.lastElementChild.append(inner.element);
      open.push(inner);
    }
    const li = document.createElement("li");
    appendInline(li, item.text);
    open.at(-1).element.append(li);
  }
  return root.element;
}

function newList(item) {
  const list = document.createElement(item.ordered ? "ol" : "ul");
  if (item.ordered && item.start !== 1) list.start = item.start;
  return list;
}

function blockElement(block) {
  if (block.kind === "code") {
    const figure = document.createElement("figure");
    figure.className = "code";
    const caption = document.createElement("figcaption");
    const language = document.createElement("span");
    language.textContent = block.language || "text";
    const copy = document.createElement("button");
    copy.type = "button";
    copy.className = "link copy-code";
    copy.textContent = "Copy";
    caption.append(language, copy);
    const pre = document.createElement("pre");
    pre.tabIndex = 0;
    const code = document.createElement("code");
    code.textContent = block.code;
    pre.append(code);
    figure.append(caption, pre);
    return figure;
  }
  if (block.kind === "list") return listElement(block.items);
  const element = document.createElement(block.kind === "heading" ? "h3" : "p");
  appendInline(element, block.text);
  return element;
}

/** Shows a growing text in `parent`, which it owns. */
export class BlockView {
  #parent;
  #shown = [];

  constructor(parent) {
    this.#parent = parent;
  }

  /** Shows `text`; only the blocks that differ from the ones shown are built. */
  show(text) {
    const blocks = parseBlocks(text);
    let same = 0;
    while (same < blocks.length && same < this.#shown.length
      && blocks[same].source === this.#shown[same].source && blocks[same].kind === this.#shown[same].kind) same += 1;
    while (this.#shown.length > same) this.#shown.pop().element.remove();
    for (const block of blocks.slice(same)) {
      const element = blockElement(block);
      this.#parent.append(element);
      this.#shown.push({ source: block.source, kind: block.kind, element });
    }
  }
}
