import { byId } from './dom.js';

/** Asks before something is changed. Answers whether it may be. */
export function confirmed({ title, text, yes }) {
  const dialog = byId('confirm');
  byId('confirm-title').textContent = title;
  byId('confirm-text').textContent = text;
  byId('confirm-yes').textContent = yes;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

byId('confirm-no').addEventListener('click', () => byId('confirm').close('no'));
byId('confirm-yes').addEventListener('click', () => byId('confirm').close('yes'));
