/** Tabs with the keys that screen-reader users expect: arrows, Home and End. */

/** `onOpen(name)` is called with "clip" for the tab "tab-clip". */
export function bindTabs(list, onOpen) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const visible = () => tabs.filter((tab) => !tab.hidden);

  const open = (tab) => {
    for (const other of tabs) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
    }
    onOpen(tab.id.replace("tab-", ""));
  };

  for (const tab of tabs) tab.addEventListener("click", () => { if (tab.getAttribute("aria-selected") !== "true") open(tab); });
  list.addEventListener("keydown", (event) => {
    const shown = visible();
    const at = shown.indexOf(document.activeElement);
    const target = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (target === undefined || at < 0) return;
    event.preventDefault();
    const tab = shown[(target + shown.length) % shown.length];
    tab.focus();
    open(tab);
  });
}
