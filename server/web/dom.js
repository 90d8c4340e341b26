// @ts-check
// The few things that all parts of the page do with elements. Text only ever goes into
// `textContent`.

/**
 * An element of the page that must be there.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no such #${id}`);
  return element;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {{ className?: string, text?: string, data?: Record<string, string> }} [of]
 * @param {Node[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, { className, text, data } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (data) Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}

/**
 * @param {{ text: string, className: string, onClick: () => void }} of
 */
export function button({ text, className, onClick }) {
  const element = el('button', { className, text });
  element.type = 'button';
  element.addEventListener('click', onClick);
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} name of a drawing in the page @param {string} [size] */
export function icon(name, size = '') {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', `icon ${size}`.trim());
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Another drawing in an element that has one.
 * @param {Element} element @param {string} name */
export function setIcon(element, name) {
  const use = element.querySelector('use');
  const href = `#icon-${name}`;
  if (use && use.getAttribute('href') !== href) use.setAttribute('href', href);
}

/** One or two letters for a round.
 * @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/u);
  const letters = [words[0], words.length > 1 ? words[words.length - 1] : ''];
  return letters.map((word) => [...(word ?? '')][0] ?? '').join('').toLocaleUpperCase() || '?';
}

/** The same colour for the same person.
 * @param {string} user */
export function hueOf(user) {
  let sum = 0;
  for (const unit of user) sum = (sum * 31 + unit.charCodeAt(0)) % 997;
  return `hue-${sum % 6}`;
}

/** @param {string[]} names */
export function listNames(names) {
  const last = names[names.length - 1] ?? '';
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} and ${last}`;
}
