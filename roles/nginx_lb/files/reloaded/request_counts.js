// Counts the requests for Prometheus, and tells it the counts. It is part of the configuration, not of the image, and runs in QuickJS, which
// reads a line four times as fast as njs. Nginx writes a short line for each request to a log of its own (log_format counted); most are equal.
// What is counted lies in memory that all workers share and that a reload keeps.
import fs from 'fs';

const LOG = '/run/nginx/counted.log';
const OLDER = '/run/nginx/counted.log.1';
const PIECE = 65536;      // bytes that are read at once; other requests wait meanwhile, for less than a millisecond
const TURN = 3000;        // milliseconds; Nginx ends a turn when the next one begins, five seconds after this one
const LARGEST = 4 * 1024 * 1024; // bytes of the log; then a new one is begun
const REOPENED = 10000;   // milliseconds after which every worker writes to the new log
const BOUNDS = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000]; // milliseconds
const SENT = 100;         // histograms that are written at once
const STATUSES = ['2xx', '4xx', '5xx']; // those that are told from the start, so that the first failure is an increase
const MODEL = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
const REASONS = ['connections', 'key', 'malformed', 'no_endpoint', 'operator', 'quota', 'rate', 'share', 'too_large', 'unknown_release'];
const OF_STATUS = {400: 'malformed', 401: 'key', 403: 'operator', 413: 'too_large', 431: 'malformed'};

// One worker counts at a time: while Nginx is reloaded, two may want to. What a turn has read takes effect as a whole at its end, so a turn that
// is ended before leaves everything to the next one.
async function count(session) {
    const until = Date.now() + TURN;
    const places = ngx.shared.flotilla_places;
    places.add('started', Date.now());
    if (!ngx.shared.flotilla_turn.add('turn', 1)) {
        return;
    }
    const read = {equal: Object.create(null), places: {}, begun: places.get('begun')};
    let more = true;
    while (more && Date.now() < until) {
        more = read.begun !== undefined && readPiece(read, OLDER, 'older') || readPiece(read, LOG, 'place');
        await new Promise(resolve => setTimeout(resolve, 0));
    }
    try {
        keep(session, read);
    } catch (error) {
        // What can't be counted must not hold up what comes after it, or the log would grow.
        ngx.log(ngx.ERR, `requests are not counted: ${error}`);
    }
    Object.keys(read.places).forEach(name => places.set(name, read.places[name]));
    if (!more) {
        tidy(read);
    }
    ngx.shared.flotilla_turn.delete('turn');
}

// Removes the older log once nothing is written to it any more, and begins a new one where the log is large.
function tidy(read) {
    const places = ngx.shared.flotilla_places;
    if (read.begun !== undefined) {
        if (Date.now() - read.begun > REOPENED) {
            fs.unlinkSync(OLDER);
            places.delete('begun');
        }
    } else if (places.get('place') > LARGEST) {
        places.set('older', places.get('place'));
        places.set('begun', Date.now());
        fs.renameSync(LOG, OLDER);
        places.set('place', 0);
        // The master has all workers open the log anew; until then they write to the renamed one.
        process.kill(process.ppid, 'SIGUSR1');
    }
}

// Counts the equal lines of the next piece of a log. Tells whether there may be more.
function readPiece(read, path, name) {
    if (!fs.existsSync(path)) {
        return false;
    }
    const place = read.places[name] || ngx.shared.flotilla_places.get(name) || 0;
    const buffer = Buffer.alloc(PIECE);
    const log = fs.openSync(path, 'r');
    const length = fs.readSync(log, buffer, 0, PIECE, place);
    fs.closeSync(log);
    const text = buffer.toString('utf8', 0, length);
    const end = text.lastIndexOf('\n');
    if (end < 0) {
        return false;
    }
    const lines = text.slice(0, end).split('\n');
    for (let number = 0; number < lines.length; number++) {
        const known = read.equal[lines[number]];
        if (known === undefined) {
            read.equal[lines[number]] = [1];
        } else {
            known[0]++;
        }
    }
    read.places[name] = place + end + 1;
    return length === PIECE;
}

// Adds what was read to what all workers share.
function keep(session, read) {
    const kinds = kindsOf(read.equal);
    const requests = Object.keys(kinds).map(kind => readKind(session, kind, kinds[kind]));
    requests.filter(request => request.asked && request.status[0] === '2' && MODEL.test(request.model)).forEach(request => {
        ngx.shared.flotilla_counts.set(`model\t${request.model}`, '1');
    });
    const found = {};
    requests.forEach(request => add(found, request));
    Object.keys(found).forEach(key => addTo(key, found[key]));
}

// Lines that differ in their times alone are of one kind. Its numbers are the requests by bucket, and the sum of their milliseconds.
function kindsOf(equal) {
    const kinds = Object.create(null);
    Object.keys(equal).forEach(line => {
        const cut = line.lastIndexOf('\t');
        const kind = line.slice(0, cut);
        const milliseconds = Math.round(1000 * Number(line.slice(cut + 1)));
        const numbers = kinds[kind] = kinds[kind] || new Array(BOUNDS.length + 2).fill(0);
        let bucket = 0;
        while (bucket < BOUNDS.length && milliseconds > BOUNDS[bucket]) {
            bucket++;
        }
        numbers[bucket] += equal[line][0];
        numbers[BOUNDS.length + 1] += milliseconds * equal[line][0];
    });
    return kinds;
}

function readKind(session, kind, numbers) {
    const fields = kind.split('\t').map(field => field === '-' ? '' : field);
    const tries = fields[1] ? fields[1].split(/, | : /) : [];
    const request = {
        numbers, tries, status: fields[0], asked: tries.length > 0, slot: tries.length ? fields[2] : '',
        endpoint: fields[3], release: fields[4], model: fields[5], client: fields[6],
    };
    request.reason = reasonOf(request, fields);
    request.retried = tries.slice(0, -1).map(address => serverAt(session, address).endpoint);
    if (request.asked && !request.endpoint && request.reason !== 'no_endpoint') {
        Object.assign(request, serverAt(session, tries[tries.length - 1]));
    }
    return request;
}

// Why the load balancer itself refused a request; empty where it did not.
function reasonOf(request, fields) {
    if (request.asked) {
        return request.status === '503' && !request.endpoint ? 'no_endpoint' : '';
    }
    if (request.status === '429') {
        return fields[7] || (fields[8] ? 'share' : 'connections');
    }
    return request.status === '404' && !fields[2] ? 'unknown_release' : OF_STATUS[request.status] || '';
}

// Which endpoint is at an address, by the configuration; the address itself where it names none.
function serverAt(session, address) {
    session.variables.flotilla_tried = address;
    const parts = session.variables.flotilla_tried_server.split(' ');
    return {endpoint: parts[0] || address, release: parts[1] || ''};
}

function add(found, request) {
    // Clients may ask for any name. Only models that have answered are told apart.
    const model = request.model && ngx.shared.flotilla_counts.has(`model\t${request.model}`) ? request.model : '';
    const status = '2345'.indexOf(request.status[0]) < 0 ? '4xx' : `${request.status[0]}xx`;
    addNumbers(found, ['requests', request.endpoint, request.slot, request.release, model, status].join('\t'), request.numbers);
    const count = [answered(request.numbers)];
    request.retried.forEach(endpoint => addNumbers(found, `retries\t${endpoint}`, count));
    if (request.reason) {
        addNumbers(found, `refusals\t${request.reason}`, count);
    }
    if (request.client) {
        addNumbers(found, `clients\t${request.client}\t${model}`, count);
    }
}

function addNumbers(found, key, numbers) {
    found[key] = found[key] ? found[key].map((number, position) => number + numbers[position]) : numbers;
}

function addTo(key, counts) {
    const before = ngx.shared.flotilla_counts.get(key);
    const sums = before === undefined ? counts : before.split(' ').map((value, position) => Number(value) + counts[position]);
    ngx.shared.flotilla_counts.set(key, sums.join(' '));
}

// Answers a request for the metrics, piece by piece, so that other requests go on between them.
async function tell(r) {
    const counts = {requests: [], retries: [], refusals: [], clients: [], model: []};
    ngx.shared.flotilla_places.add('started', Date.now());
    ngx.shared.flotilla_counts.items(1000000).forEach(item => {
        const names = item[0].split('\t');
        counts[names[0]].push({names: names.slice(1), values: item[1].split(' ').map(Number)});
    });
    const first = [balancer(r), others(counts), totals(counts)].join('');
    r.status = 200;
    r.headersOut['Content-Type'] = 'text/plain; version=0.0.4; charset=utf-8';
    r.sendHeader();
    r.send(first);
    r.send(head('flotilla_lb_request_seconds', 'histogram', 'The time from the first byte of a request to the last one of its answer.'));
    for (let number = 0; number < counts.requests.length; number += SENT) {
        r.send(counts.requests.slice(number, number + SENT).map(histogram).join(''));
        await new Promise(resolve => setTimeout(resolve, 0));
    }
    r.finish();
}

function head(name, type, help) {
    return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

function labels(names, values) {
    const escaped = value => value.replace(/\\/g, '\\\\').replace(/"/g, '\\"');
    return names.map((name, position) => `${name}="${escaped(values[position])}"`).join(',');
}

function ofRequest(names) {
    return labels(['endpoint', 'slot', 'release', 'model', 'status'], names);
}

function metric(name, type, help, samples) {
    return head(name, type, help) + samples.map(sample => `${name}${sample[0] ? `{${sample[0]}}` : ''} ${sample[1]}\n`).join('');
}

function balancer(r) {
    const v = r.variables;
    // Without this request. $connections_reading counts scripts that run by themselves too.
    const busy = Number(v.connections_writing) - 1;
    const certificates = v.flotilla_certificates.trim().split(' ').map(named => {
        const parts = named.split(':');
        return [labels(['certificate'], [parts[0]]), firstToEnd(fs.readFileSync(parts[1], 'utf8'))];
    });
    const times = at => certificates.map(certificate => [certificate[0], certificate[1][at]]);
    return [
        metric('flotilla_lb_connections_active', 'gauge', 'Open connections of clients.', [['', v.connections_active]]),
        metric('flotilla_lb_requests_in_flight', 'gauge', 'Requests whose headers are read, and whose answers are not sent.', [['', busy]]),
        metric('flotilla_lb_configuration_info', 'gauge', 'The configuration that is served.', [[labels(['version'], [v.flotilla_version]), 1]]),
        metric('flotilla_lb_start_time_seconds', 'gauge', 'When the counts began.', [['', ngx.shared.flotilla_places.get('started') / 1000]]),
        metric('flotilla_lb_certificate_start_timestamp_seconds', 'gauge', 'When a certificate began.', times('start')),
        metric('flotilla_lb_certificate_end_timestamp_seconds', 'gauge', 'When a certificate ends.', times('end')),
        v.flotilla_virtual_address ? metric('flotilla_lb_holds_address', 'gauge', 'Whether this machine has the virtual address.',
                                            [['', holds(v.flotilla_virtual_address) ? 1 : 0]]) : '',
    ].join('');
}

function holds(address) {
    const local = new RegExp(`\\|-- ${address.replace(/\./g, '\\.')}\\n +/32 host LOCAL`);
    return local.test(fs.readFileSync('/proc/net/fib_trie', 'utf8'));
}

function others(counts) {
    const refused = {};
    counts.refusals.forEach(entry => { refused[entry.names[0]] = entry.values[0]; });
    const retried = {};
    counts.requests.filter(entry => entry.names[0]).forEach(entry => { retried[entry.names[0]] = 0; });
    counts.retries.forEach(entry => { retried[entry.names[0]] = entry.values[0]; });
    return [
        metric('flotilla_lb_refusals_total', 'counter', 'Requests that the load balancer refused.',
               REASONS.map(reason => [labels(['reason'], [reason]), refused[reason] || 0])),
        metric('flotilla_lb_retries_total', 'counter', 'Tries that failed and after which another endpoint was tried.',
               Object.keys(retried).map(endpoint => [labels(['endpoint'], [endpoint]), retried[endpoint]])),
        metric('flotilla_lb_client_requests_total', 'counter', 'Requests by the name of their API key.',
               counts.clients.map(entry => [labels(['client', 'model'], entry.names), entry.values[0]])),
    ].join('');
}

function totals(counts) {
    const found = {};
    const models = counts.model.map(entry => entry.names[0]).concat('');
    models.forEach(model => ['4xx', '5xx'].forEach(status => { found[['', '', '', model, status].join('\t')] = 0; }));
    counts.requests.forEach(entry => STATUSES.forEach(status => { found[entry.names.slice(0, 4).concat(status).join('\t')] = 0; }));
    counts.requests.forEach(entry => { found[entry.names.join('\t')] = answered(entry.values); });
    return metric('flotilla_lb_requests_total', 'counter', 'Requests answered.', Object.keys(found).map(key => [ofRequest(key.split('\t')), found[key]]));
}

function answered(numbers) {
    return numbers.slice(0, BOUNDS.length + 1).reduce((sum, value) => sum + value, 0);
}

function histogram(entry) {
    const name = 'flotilla_lb_request_seconds';
    const its = ofRequest(entry.names);
    let sum = 0;
    const lines = BOUNDS.map((bound, position) => {
        sum += entry.values[position];
        return `${name}_bucket{${its},le="${bound / 1000}"} ${sum}\n`;
    });
    const all = answered(entry.values);
    const seconds = entry.values[BOUNDS.length + 1] / 1000;
    return lines.join('') + `${name}_bucket{${its},le="+Inf"} ${all}\n${name}_sum{${its}} ${seconds}\n${name}_count{${its}} ${all}\n`;
}

// When that of a file's certificates which ends first began and ends, in seconds since the epoch.
function firstToEnd(text) {
    const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+/g) || [];
    return found.map(pem => validity(Buffer.from(pem.slice(27).replace(/\s/g, ''), 'base64')))
        .reduce((first, other) => other.end < first.end ? other : first, {start: NaN, end: Infinity});
}

// The element of a certificate (DER) that begins at `at`.
function element(der, at) {
    let from = at + 2;
    let length = der[at + 1];
    if (length > 127) {
        from += length - 128;
        length = der.subarray(at + 2, from).reduce((sum, byte) => 256 * sum + byte, 0);
    }
    return {tag: der[at], from, to: from + length};
}

function validity(der) {
    let part = element(der, element(der, element(der, 0).from).from);
    // After the version, which is optional: serial number, algorithm, issuer, validity (RFC 5280, section 4.1).
    for (let left = part.tag === 0xa0 ? 4 : 3; left > 0; left--) {
        part = element(der, part.to);
    }
    const start = element(der, part.from);
    return {start: secondsOf(der, start), end: secondsOf(der, element(der, start.to))};
}

function secondsOf(der, element) {
    const digits = der.toString('utf8', element.from, element.to);
    const time = (digits.length < 15 ? (digits < '5' ? '20' : '19') : '') + digits;
    const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(time).slice(1).map(Number);
    return Date.UTC(parts[0], parts[1] - 1, parts[2], parts[3], parts[4], parts[5]) / 1000;
}

export default { count, tell };
