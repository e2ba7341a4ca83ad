// What happens to the prediction when parts are switched off: computed beforehand for single heads, else asked of the server.

/** Switches heads and atoms of one model off, and finds out what that does. */
export class Effects {
  constructor(app, m) {
    Object.assign(this, { app, m, asked: "", answer: null, trouble: "", waiting: false });
  }

  get server() {
    return this.app.data.server;
  }

  get known() {
    return this.app.picture.views[this.m].effects;
  }

  get classes() {
    return this.app.picture.views[this.m].top.length;
  }

  get heads() {
    return this.app.state.off[this.m];
  }

  get atoms() {
    return this.app.state.atomsOff[this.m];
  }

  isOff(layer, head) {
    return includes(this.heads, layer, head);
  }

  atomIsOff(layer, atom) {
    return includes(this.atoms, layer, atom);
  }

  /** Without a server one head at a time. */
  toggle(layer, head) {
    const others = this.server || this.isOff(layer, head) ? this.heads : [];
    this.choose(toggled(others, layer, head), this.atoms);
  }

  toggleAtom(layer, atom) {
    this.choose(this.heads, toggled(this.atoms, layer, atom));
  }

  clear() {
    this.choose([], []);
  }

  choose(heads, atoms) {
    const { off, atomsOff } = this.app.state;
    this.app.set({ off: off.map((old, m) => (m === this.m ? heads : old)), atomsOff: atomsOff.map((old, m) => (m === this.m ? atoms : old)) });
  }

  /** Find out what is off now does to the picture that is shown, unless that was asked last. */
  update() {
    const { known, heads, atoms } = this;
    const key = JSON.stringify([this.app.state.picture, heads, atoms]);
    if (key === this.asked) return;
    Object.assign(this, { asked: key, answer: null, trouble: "", waiting: false });
    if (known && heads.length < 2 && !atoms.length) {
      const [layer, head] = heads[0] ?? [];
      const none = heads.length === 0;
      this.answer = { classes: known.classes, intact: known.intact,
        zero: none ? null : known.zero[layer][head], mean: none ? null : known.mean[layer][head] };
    } else if (this.server && this.classes && (heads.length || atoms.length)) {
      this.waiting = true;
      const arrived = (found) => {
        if (key !== this.asked) return;
        Object.assign(this, found, { waiting: false });
        this.app.set({});
      };
      this.ask(heads, atoms).then((answer) => arrived({ answer }), (error) => arrived({ trouble: error.message }));
    }
  }

  async ask(off, atoms) {
    const byLayer = new Map();
    for (const [layer, atom] of atoms) byLayer.set(layer, [...(byLayer.get(layer) ?? []), atom]);
    let reply;
    try {
      reply = await fetch(`${this.server.url}/effects`, {
        method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token: this.server.token, picture: this.app.state.picture, model: this.m, off, atoms: [...byLayer] }),
      });
    } catch {
      throw new Error("The server does not answer: is crate explore still running?");
    }
    const answer = await reply.json().catch(() => ({}));
    if (!reply.ok) throw new Error(String(answer.error ?? `The server answered with status ${reply.status}.`));
    return answer;
  }
}

function includes(pairs, layer, number) {
  return pairs.some(([l, n]) => l === layer && n === number);
}

function toggled(pairs, layer, number) {
  const others = pairs.filter(([l, n]) => l !== layer || n !== number);
  return others.length < pairs.length ? others : [...pairs, [layer, number]];
}
