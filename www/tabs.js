// The tabs: one panel is shown at a time; arrows, Home and End move between tabs. The address's hash keeps the choice.

/** Events: `change` after another tab is shown. */
export class Tabs extends EventTarget {
  #tabs;

  /** @param {HTMLElement} list the element with role `tablist`; each tab's `aria-controls` names its panel */
  constructor(list) {
    super();
    this.#tabs = [...list.querySelectorAll('[role="tab"]')];
    for (const tab of this.#tabs) tab.addEventListener("click", () => this.show(tab.dataset.tab));
    list.addEventListener("keydown", (event) => {
      const at = this.#tabs.indexOf(document.activeElement);
      const last = this.#tabs.length - 1;
      const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      this.show(this.#tabs[to].dataset.tab);
      this.#tabs[to].focus();
    });
    addEventListener("hashchange", () => this.#fromHash());
    this.#fromHash();
  }

  /** The name of the tab that is shown. */
  get current() {
    return this.#tabs.find((tab) => tab.getAttribute("aria-selected") === "true").dataset.tab;
  }

  show(name) {
    const before = this.current;
    for (const tab of this.#tabs) {
      const chosen = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
      if (chosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    document.documentElement.dataset.tab = name;
    history.replaceState(null, "", name === "chat" ? location.pathname + location.search : `#${name}`);
    if (before !== name) this.dispatchEvent(new Event("change"));
  }

  #fromHash() {
    const name = location.hash.slice(1);
    this.show(this.#tabs.some((tab) => tab.dataset.tab === name) ? name : "chat");
  }
}
