// Before the first paint, so that a chosen theme does not flash. The system's own choice needs no script.
{
  const chosen = localStorage.getItem("gattway-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
}
