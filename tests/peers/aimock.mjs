// Serves two scripted conversations on a free port and prints its URL.
const { LLMock } = await import(new URL(`file://${process.argv[2]}/node_modules/@copilotkit/aimock/dist/index.js`));
const mock = new LLMock({ port: 0, chunkSize: 5 });
mock.on({ hasToolResult: true }, { content: 'It is 21 degrees in Zürich.' });
mock.on({ userMessage: 'weather' }, {
  toolCalls: [
    { id: 'call_a', name: 'get_weather', arguments: JSON.stringify({ place: 'Zürich', unit: 'celsius' }) },
    { id: 'call_b', name: 'get_weather', arguments: JSON.stringify({ place: 'Bern', unit: 'celsius' }) },
  ],
});
mock.on({ userMessage: 'hello' }, { content: 'Hello! How can I help you today?' });
await mock.start();
console.log(`listening on ${mock.url}`);
