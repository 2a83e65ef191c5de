// A provider of logins for one test. Arguments: where its package is installed, and where it may send browsers back to. It writes its address.
// Whoever the last POST to /as/NAME?groups=A,B named is logged in without being asked; /as/ alone refuses the next login.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [installed, redirect] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(createRequire(`${installed}/`).resolve('oidc-provider')));

let provider;
let who = null;
const groups = {};

async function interaction(req, res) {
  const { uid, prompt, params, session } = await provider.interactionDetails(req, res);
  if (who === null) {
    const refused = { error: 'access_denied', error_description: 'not <today>' };
    return provider.interactionFinished(req, res, refused, { mergeWithLastSubmission: false });
  }
  if (prompt.name === 'login') {
    return provider.interactionFinished(req, res, { login: { accountId: who } }, { mergeWithLastSubmission: false });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
}

const server = createServer((req, res) => {
  const url = new URL(req.url, 'http://provider');
  if (req.method === 'POST' && url.pathname.startsWith('/as/')) {
    who = url.pathname.slice(4) || null;
    groups[who] = (url.searchParams.get('groups') ?? '').split(',').filter(Boolean);
    return res.end('ok');
  }
  if (url.pathname.startsWith('/interaction/')) {
    return interaction(req, res).catch((error) => { res.statusCode = 500; res.end(String(error)); });
  }
  return provider.callback()(req, res);
});

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, {
    clients: [{ client_id: 'koschei', client_secret: 'only for tests', redirect_uris: [redirect], response_types: ['code'] }],
    scopes: ['openid', 'profile', 'groups'],
    claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
    pkce: { required: () => true },
    cookies: { keys: ['only for tests'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id, groups: groups[id] }) }),
  });
  console.log(issuer);
});
