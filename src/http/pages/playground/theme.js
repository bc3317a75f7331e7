// Light or dark: the system's choice, unless the switch was used.

const NAME = 'retro-theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

function stored() {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null;
  }
}

function current() {
  return document.documentElement.dataset.theme ?? (dark.matches ? 'dark' : 'light');
}

const choice = stored();
// Before the body is there, so that the page is never painted in the other theme first.
if (choice === 'light' || choice === 'dark') document.documentElement.dataset.theme = choice;

export function startTheme(button) {
  const say = () => { button.textContent = current() === 'dark' ? 'Light theme' : 'Dark theme'; };
  button.addEventListener('click', () => {
    const next = current() === 'dark' ? 'light' : 'dark';
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(NAME, next);
    } catch {
      // The choice then lasts as long as the page.
    }
    say();
  });
  dark.addEventListener('change', say);
  say();
}
