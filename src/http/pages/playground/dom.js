// Elements. Text of the server and of people goes in as text nodes only, so none of it can become markup.

export const byId = (id) => document.getElementById(id);

/** An element with `attributes` and `children`; strings become text. `on` holds listeners, null leaves an attribute out. */
export function el(tag, { on = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...present(children));
  return element;
}

/** Puts `children` in the place of what an element holds; null and undefined are left out. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

function present(children) {
  return children.filter((child) => child !== null && child !== undefined);
}

/** Joins a slider and its number, and gives them one value. */
export function sliderOf(id) {
  const slider = byId(`${id}-slider`);
  const number = byId(id);
  slider.addEventListener('input', () => { number.value = slider.value; });
  number.addEventListener('input', () => { slider.value = number.value; });
  return {
    get value() {
      return number.value === '' ? Number(slider.value) : Number(number.value);
    },
    set value(value) {
      slider.value = value;
      number.value = value;
    },
    set most(value) {
      slider.max = value;
      number.max = value;
    },
  };
}

export function showProblem(box, problem) {
  const details = problem.code ? el('span', { class: 'problem-code' }, problem.code) : null;
  box.replaceChildren(el('p', {}, problem.detail ?? problem.message ?? String(problem), ' ', details));
  box.hidden = false;
}

export function hideProblem(box) {
  box.hidden = true;
  box.replaceChildren();
}
