// The digest of the key that a request brings, for Nginx to look up: the keys themselves are not on this machine.
// A key in the query string is none, since addresses end up in logs and histories.
import crypto from 'crypto';

function digest(request) {
    const bearer = /^Bearer +(\S+)$/i.exec(request.headersIn['Authorization'] || '');
    const key = request.headersIn['X-API-Key'] || (bearer ? bearer[1] : '');
    return key ? crypto.createHash('sha256').update(key).digest('hex') : '';
}

export default { digest };
