"use strict";
async function poll() {
  const response = await fetch("api/v1/status");
  document.getElementById("status").textContent = JSON.stringify(await response.json(), null, 2);
}
poll();
setInterval(poll, 3000);
