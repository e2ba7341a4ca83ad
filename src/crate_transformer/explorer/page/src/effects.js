// What happens to the prediction when parts are switched off: computed beforehand for single heads, else asked of the server.

/** Which heads and atoms of one model are off, and what that does. */
export class Effects {
  constructor(app, m) {
    Object.assign(this, { app, m, heads: [], atoms: [], asked: 0, answer: null, trouble: "" });
  }

  get server() {
    return this.app.data.server;
  }

  get known() {
    return this.app.picture.views[this.m].effects;
  }

  isOff(layer, head) {
    return this.heads.some(([l, h]) => l === layer && h === head);
  }

  atomIsOff(layer, atom) {
    return this.atoms.some(([l, a]) => l === layer && a === atom);
  }

  /** Without a server one head at a time. */
  toggle(layer, head) {
    const others = this.heads.filter(([l, h]) => l !== layer || h !== head);
    const off = this.isOff(layer, head);
    this.heads = off ? others : [...(this.server ? others : []), [layer, head]];
    this.update();
  }

  toggleAtom(layer, atom) {
    const others = this.atoms.filter(([l, a]) => l !== layer || a !== atom);
    this.atoms = others.length < this.atoms.length ? others : [...others, [layer, atom]];
    this.update();
  }

  clear() {
    [this.heads, this.atoms] = [[], []];
    this.update();
  }

  /** Find out what the present choice does, for the present picture. */
  async update() {
    const number = ++this.asked;
    this.picture = this.app.state.picture;
    [this.answer, this.trouble, this.waiting] = [null, "", false];
    const { known, heads, atoms } = this;
    if (known && heads.length < 2 && !atoms.length) {
      const [layer, head] = heads[0] ?? [];
      const none = heads.length === 0;
      this.answer = { classes: known.classes, intact: known.intact,
        zero: none ? null : known.zero[layer][head], mean: none ? null : known.mean[layer][head] };
    } else if (this.server && (heads.length || atoms.length)) {
      this.waiting = true;
      this.app.set({});
      try {
        const answer = await this.ask(heads, atoms);
        if (number === this.asked) this.answer = answer;
      } catch (error) {
        if (number === this.asked) this.trouble = error.message;
      }
      if (number !== this.asked) return;
      this.waiting = false;
    }
    this.app.set({});
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
