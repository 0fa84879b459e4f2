// Drives the vendor's clients for a test: a request per line of stdin as JSON, its answer per line of stdout.
// Only the host is changed, as the vendor's own documentation shows it.

const readline = require("node:readline");
const client = require("@sendgrid/client");
const mail = require("@sendgrid/mail");

client.setApiKey(process.env.SENDGRID_API_KEY);
client.setDefaultRequest("baseUrl", process.env.SENDGRID_BASE_URL);
mail.setClient(client);

async function perform({ mail: message, ...request }) {
  try {
    const [response] = await (message ? mail.send(message) : client.request(request));
    return { status: response.statusCode, body: response.body, headers: response.headers };
  } catch (error) {
    if (!error.response) throw error;
    return { status: error.code, body: error.response.body, headers: error.response.headers };
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await perform(JSON.parse(line))));
  }
})();
