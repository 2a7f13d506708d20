// Keeps a page as the server would render it now. The server says over /v1/events when the store has changed;
// the page is then fetched again and what differs is changed in place, so focus, scroll position, what is
// typed and what is unfolded stay. Without this script every page works, it only has to be reloaded.
"use strict";
(() => {
  const live = document.getElementById("live");
  const wait = 2000; // after a failure, in milliseconds
  let events, retry, busy = false, again = false;

  const say = (state, words) => {
    live.dataset.state = state;
    if (live.textContent !== words) live.textContent = words;
  };

  // Makes `old` equal to `fresh`, keeping every node that can stay. Elements with an id are told apart by it.
  function morph(old, fresh) {
    if (old.isEqualNode(fresh) || (old.dataset && "keep" in old.dataset)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
    if (old.nodeType !== Node.ELEMENT_NODE) return void (old.data = fresh.data);
    for (const { name, value } of fresh.attributes)
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes])
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    const wanted = new Set([...fresh.children].map((child) => child.id));
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const same = child.id
        ? [...old.children].find((candidate) => candidate.id === child.id)
        : next && !(next.id && wanted.has(next.id)) && next.nodeName === child.nodeName ? next : null;
      if (!same) old.insertBefore(child, next);
      else {
        if (same === next) next = next.nextSibling;
        else old.insertBefore(same, next);
        morph(same, child);
      }
    }
    while (next) {
      const rest = next.nextSibling;
      next.remove();
      next = rest;
    }
  }

  async function renew() {
    if (busy) return void (again = true);
    busy = true;
    let failed = false;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.status === 401 || new URL(answer.url).pathname === "/login") return location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const focused = document.activeElement;
      morph(document.body, fresh.body);
      document.title = fresh.title;
      if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    } catch {
      failed = true;
      say("lost", "reconnecting");
    }
    busy = false;
    if ((again || failed) && !document.hidden) setTimeout(renew, failed ? wait : 0);
    again = false;
  }

  function listen() {
    clearTimeout(retry);
    if (events) events.close();
    if (document.hidden) return say("paused", "paused");
    events = new EventSource("/v1/events");
    events.onopen = () => say("live", "live");
    events.onmessage = ({ data }) => {
      say("live", "live");
      if (String(JSON.parse(data).version) !== document.body.dataset.version) renew();
    };
    events.onerror = () => {
      say("lost", "reconnecting");
      if (events.readyState === EventSource.CLOSED) retry = setTimeout(listen, wait);
    };
  }

  // The filter narrows the list while one types, without a page of its own in the history.
  let typed;
  document.addEventListener("input", ({ target }) => {
    if (!("filter" in target.dataset)) return;
    clearTimeout(typed);
    typed = setTimeout(() => {
      const url = new URL(location.href);
      if (target.value) url.searchParams.set("q", target.value);
      else url.searchParams.delete("q");
      history.replaceState(null, "", url);
      renew();
    }, 150);
  });

  document.documentElement.classList.add("scripted");
  document.addEventListener("visibilitychange", listen);
  addEventListener("pagehide", () => events && events.close());
  addEventListener("pageshow", ({ persisted }) => persisted && listen());
  listen();
})();
