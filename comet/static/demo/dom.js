// Two words for what every page does. Strings become text, whatever is in them: nothing here ever makes
// markup of what somebody published.
export const at = (id) => document.getElementById(id);

export function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}
