// Shares the endpoints' time for long requests among the clients that send some. It is part of the configuration, not of the image.
// A long request's work, in milliseconds of CPU time, is estimated by its body's length and by what its client's requests took before.
const NETWORK = 4;      // the addresses of one network count as so many clients at most
const COUNTED = 1000;   // milliseconds for which a client counts after it has sent a long request
const FORGOTTEN = 60000; // milliseconds after which a request counts no more whose end was missed
const REMEMBERED = 600000; // milliseconds for which is remembered what a client's requests took
const USUAL = 0.2;      // milliseconds for 1,000 bytes, until an endpoint has told
const UNKNOWN = 1e6;    // bytes of a body whose length is not known before
const ENDING = 100;     // milliseconds that an endpoint takes to notice, at most: it computes a block to its end
const TURN = 850;       // milliseconds; the interval in status.conf.j2 is longer, so that a turn's last calls end within it
const PAUSE = 20;       // milliseconds
const REFUSED = 'refused';

// The eight groups of an IPv6 address.
function groupsOf(address) {
    const parts = address.split('::').map(part => part ? part.split(':') : []);
    return parts.length === 1 ? parts[0] : parts[0].concat(new Array(8 - parts[0].length - parts[1].length).fill('0'), parts[1]);
}

// The network of a client without a key, and the client: an IPv4 address, which a proxy may tell in the form of IPv6, or the first 64 bits of
// an IPv6 one.
function placeOf(address) {
    if (address.indexOf('.') >= 0) {
        const ipv4 = address.slice(address.lastIndexOf(':') + 1);
        return [ipv4.split('.').slice(0, 3).join('.'), ipv4];
    }
    const groups = groupsOf(address);
    return [groups.slice(0, 3).join(':'), groups.slice(0, 4).join(':')];
}

function clientOf(r) {
    const key = r.variables.flotilla_client_key;
    return key ? `key ${key}|key ${key}` : `network ${placeOf(r.variables.remote_addr).join('|')}`;
}

function lengthOf(r) {
    return Number(r.variables.content_length) || UNKNOWN;
}

function kindsOf(r, client) {
    const route = r.variables.uri.slice(0, 100);
    return [`${client} ${route}`, route];
}

function estimate(r, client) {
    const known = kindsOf(r, client).map(kind => ngx.shared.flotilla_costs.get(kind)).filter(cost => cost !== undefined);
    return Math.max(1, (known.length ? known[0] : USUAL) * lengthOf(r) / 1000);
}

// What is under way, in all and by network and client, and how many clients each network has.
function underWay(client) {
    const clients = {};
    ngx.shared.flotilla_clients.keys(4096).forEach(name => { clients[name] = true; });
    const network = client.split('|')[0];
    const found = {own: 0, network: 0};
    ngx.shared.flotilla_work.items(4096).forEach(item => {
        const parts = item[0].split('|');
        clients[`${parts[0]}|${parts[1]}`] = true;
        if (parts[0] === network) {
            found.network += item[1];
            found.own += `${parts[0]}|${parts[1]}` === client ? item[1] : 0;
        }
    });
    const members = {};
    Object.keys(clients).forEach(name => {
        const its = name.split('|')[0];
        members[its] = (members[its] || 0) + 1;
    });
    found.members = members[network];
    found.units = Math.min(NETWORK, members[network]);
    found.allUnits = Object.keys(members).reduce((sum, name) => sum + Math.min(NETWORK, members[name]), 0);
    return found;
}

// The name of the request among those under way, or REFUSED. A client that has nothing under way gets one request in, if its network does.
function admit(r) {
    const client = clientOf(r);
    const work = estimate(r, client);
    ngx.shared.flotilla_clients.set(client, 1, COUNTED);
    const found = underWay(client);
    const ofNetwork = Number(r.variables.flotilla_long_work) * found.units / found.allUnits;
    const fits = (has, limit) => has === 0 || has + work <= limit;
    if (!fits(found.own, ofNetwork / found.members) || !fits(found.network, ofNetwork)) {
        return REFUSED;
    }
    const name = `${client}|${r.variables.request_id}`;
    ngx.shared.flotilla_work.set(name, work, FORGOTTEN);
    return name;
}

// Called when the request is logged. Returns its work in milliseconds, as the endpoint told it, or as it was estimated.
function end(r) {
    const name = r.variables.flotilla_admitted;
    const works = ngx.shared.flotilla_work;
    const estimated = works.get(name) || 0;
    const told = Number(r.variables.upstream_http_x_work);
    if (r.variables.status === '499') {
        // The client has left. Its request counts until the endpoints have been told, or might have done all of the work.
        works.set(name, estimated, Math.ceil(2 * estimated) + ENDING);
        const addresses = (r.variables.upstream_addr || '').split(/, | : /).filter(address => /:\d+$/.test(address));
        const left = {name, addresses, port: r.variables.flotilla_status_port};
        ngx.shared.flotilla_left.set(r.variables.request_id, JSON.stringify(left));
        return estimated.toFixed(1);
    }
    works.delete(name);
    if (!told) {
        return estimated.toFixed(1);
    }
    const costs = ngx.shared.flotilla_costs;
    const seen = 1000 * told / lengthOf(r);
    kindsOf(r, name.split('|').slice(0, 2).join('|')).forEach(kind => {
        const known = costs.get(kind);
        // Quick to rise and slow to fall, so that cheap requests don't hide expensive ones.
        costs.set(kind, known === undefined ? seen : Math.max(seen, 0.8 * known + 0.2 * seen), REMEMBERED);
    });
    return told.toFixed(1);
}

// Tells endpoints, for as long as one turn takes, which requests have lost their clients. Nginx ends a turn when the next one begins.
async function tell() {
    const until = Date.now() + TURN;
    const told = {};
    while (Date.now() < until) {
        const calls = {};
        ngx.shared.flotilla_left.items(1024).forEach(item => {
            if (!told[item[0]]) {
                told[item[0]] = true;
                const left = JSON.parse(item[1]);
                left.addresses.forEach(address => {
                    const url = `http://127.0.0.1:${left.port}/_lb/abandoned?endpoint=${address}`;
                    (calls[url] = calls[url] || []).push({key: item[0], name: left.name});
                });
            }
        });
        Object.keys(calls).forEach(url => tellOne(url, calls[url]));
        await new Promise(resolve => setTimeout(resolve, PAUSE));
    }
}

async function tellOne(url, requests) {
    try {
        const answer = await ngx.fetch(url, {method: 'POST', body: requests.map(request => request.key).join('\n')});
        if (answer.status !== 200) {
            return;
        }
    } catch (error) {
        // The next turn tries again.
        return;
    }
    requests.forEach(request => {
        const work = ngx.shared.flotilla_work.get(request.name);
        if (work) {
            ngx.shared.flotilla_work.set(request.name, work, ENDING);
        }
        ngx.shared.flotilla_left.delete(request.key);
    });
}

export default { admit, end, tell };
