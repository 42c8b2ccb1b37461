// Five streamed turns, held in the way that ARGV names, with the client that client.mjs sets up.
// Prints one line of JSON a turn: {"pieces": [...], "usage": {...}, "arm": "..."}.
import { client } from "./client.mjs";

const [way, model, instruction, ...questions] = process.argv.slice(2);
const system = { role: "system", content: instruction };

const ways = {
  async chunks(history) {
    const { data, response } = await client.chat.completions
      .create({ model, messages: [system, ...history], stream: true, stream_options: { include_usage: true } })
      .withResponse();
    const pieces = [];
    let usage = null;
    for await (const chunk of data) {
      if (chunk.choices.length) pieces.push(chunk.choices[0].delta.content ?? "");
      usage = chunk.usage ?? usage;
    }
    return { pieces, usage, arm: response.headers.get("x-gattway-arm") };
  },

  async helper(history) {
    const pieces = [];
    const stream = client.chat.completions
      .stream({ model, messages: [system, ...history] })
      .on("content", (delta) => pieces.push(delta));
    const text = await stream.finalContent();
    if (text !== pieces.join("")) throw new Error(`${text} is not ${pieces}`);
    return { pieces };
  },

  async responses(history) {
    const pieces = [];
    const stream = client.responses
      .stream({ model, instructions: instruction, input: history })
      .on("response.output_text.delta", (event) => pieces.push(event.delta));
    const final = await stream.finalResponse();
    if (final.output_text !== pieces.join("")) throw new Error(`${final.output_text} is not ${pieces}`);
    return { pieces, usage: { prompt_tokens: final.usage.input_tokens } };
  },
};

const history = [];
for (const question of questions) {
  history.push({ role: "user", content: question });
  const turn = await ways[way](history);
  history.push({ role: "assistant", content: turn.pieces.join("") });
  console.log(JSON.stringify(turn));
}
