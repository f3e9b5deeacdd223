// Has Nginx reload when there is a new certificate: no other container can send Nginx a signal. The file is there until clients are shown it.
import fs from 'fs';

function reload() {
    if (fs.existsSync('/etc/nginx/acme/reload')) {
        process.kill(process.ppid, 'SIGHUP');
    }
}

export default { reload };
